"""What others feel of a bad client: the time from the end of their DATA to its 250, and from the 250 until their message is visible.

    python -m benchmarks.hostile [--rounds 3] [--seconds 8] [--rate 80] [--only 30] [--runs 1]

One mailbot of the profile that DATABASE_URL and REDIS_URL choose. For each disturbance the same even load runs alone, disturbed, alone,
disturbed, … for so many rounds. Their p99 are put beside each other: the ratio is that of the medians, and beside it stands by how much
the quiet runs differ among themselves, which is what a ratio means nothing below. The target is at most twice the usual. `--only` takes
the disturbances whose names contain it. Mail of the disturbance goes to an inbox of its own.
"""

import asyncio
import base64
import contextlib
import os
import sys
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import httpx
import uvloop

from benchmarks.figures import Figure, options_of, percentile, profile, report, shown
from benchmarks.lab import HOST, INBOXES, Mailbot, new_database
from benchmarks.load import Due, LoadClient, mail

TARGET = 2.0  # times the usual p99
MEASURED = ("accepted", "visible")
LOOKS_EVERY = 0.002  # seconds
PATIENCE = 60.0  # seconds
MEBIBYTE = 1024 * 1024
EVERY = 1.5  # seconds between two mails of a disturbance
IDLE = 500  # connections: all that there are
SPARED = 11.0  # seconds: who has been silent for less keeps its place
HEAD = b"From: a@example.com\r\nSubject: %b\r\nMIME-Version: 1.0\r\n"

Disturbance = Callable[[int, str], AbstractAsyncContextManager[None]]


# --- The load -------------------------------------------------------------------------------------------------------------


class TimedClient(LoadClient):
    """Notes how long each 250 took after the end of DATA."""

    def __init__(self, recipient: str, mails: Iterator[Due], promised: Callable[[], None], took: list[float]) -> None:
        super().__init__(recipient, mails, promised)
        self._took = took
        self._ended = 0.0

    def _send(self, text: bytes) -> None:
        self._say(self._envelope, [b"250", b"250", b"354"], partial(self._end, text))

    def _end(self, text: bytes) -> None:
        self._ended = time.perf_counter()
        self._say(text + b".\r\n", [b"250"], self._taken)

    def _taken(self) -> None:
        self._took.append((time.perf_counter() - self._ended) * 1000)
        super()._taken()


@dataclass
class Felt:
    """Milliseconds of each mail."""

    accepted: list[float] = field(default_factory=list)
    visible: list[float] = field(default_factory=list)


async def feel(bot: Mailbot, seconds: float, rate: float) -> Felt:
    """An even load to all inboxes, and what it feels."""
    felt, loop = Felt(), asyncio.get_running_loop()
    promised: list[list[float]] = [[] for _ in range(INBOXES)]
    began, start = loop.time(), bot.store.visible()
    due = ((began + number / rate, mail(next_number())) for number in range(int(seconds * rate)))
    sending = []
    for inbox, moments in enumerate(promised):
        client = partial(TimedClient, f"bench{inbox}@mailbot.localhost", due, partial(note, moments), felt.accepted)
        sending.append((await loop.create_connection(client, HOST, bot.smtp_port))[1].done)
    await watch(bot, asyncio.gather(*sending), promised, start, felt)
    return felt


async def watch(
    bot: Mailbot, sending: asyncio.Future[list[None]], promised: list[list[float]], start: dict[str, int], felt: Felt
) -> None:
    """Until everything is visible. Messages of an inbox become visible in the order in which they were promised, but for a few."""
    seen: list[list[float]] = [[] for _ in bot.inbox_ids]
    deadline = time.monotonic() + PATIENCE
    while not sending.done() or sum(map(len, seen)) < sum(map(len, promised)):
        if time.monotonic() > deadline:
            sys.exit("The mails of the load did not become visible.")
        await asyncio.sleep(LOOKS_EVERY)
        now, visible = time.perf_counter(), bot.store.visible()
        for inbox, moments in zip(bot.inbox_ids, seen, strict=True):
            moments += [now] * (visible[inbox] - start[inbox] - len(moments))
    sending.result()
    for sent, moments in zip(promised, seen, strict=True):
        felt.visible += [max(0.0, (moment - at) * 1000) for at, moment in zip(sent, moments, strict=True)]


def note(moments: list[float]) -> None:
    moments.append(time.perf_counter())


_numbers = iter(range(10**9))


def next_number() -> int:
    return next(_numbers)


# --- The disturbances -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def nothing(port: int, recipient: str) -> AsyncIterator[None]:
    """How far two quiet runs differ."""
    yield


@asynccontextmanager
async def connections(port: int, recipient: str, count: int, words: bytes, silent: float = 0) -> AsyncIterator[None]:
    """So many that have said `words` and then say nothing, for `silent` seconds before others come."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            reader, writer = await asyncio.open_connection(HOST, port)
            stack.callback(writer.close)
            await reader.readline()
            writer.write(words.replace(b"RECIPIENT", recipient.encode()))
        await asyncio.sleep(silent)
        yield


@asynccontextmanager
async def repeated(port: int, recipient: str, text: Callable[[], bytes]) -> AsyncIterator[None]:
    """One such mail every EVERY seconds, each of other bytes."""
    task = asyncio.create_task(_repeat(port, recipient, text()))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _repeat(port: int, recipient: str, text: bytes) -> None:
    while True:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"EHLO big.example\r\nMAIL FROM:<>\r\nRCPT TO:<%b>\r\nDATA\r\n" % recipient.encode())
        while not (await reader.readline()).startswith(b"354"):
            pass
        writer.write(b"X-Number: %d\r\n" % next_number())
        for start in range(0, len(text), 256 * 1024):  # as a network would bring it
            writer.write(text[start : start + 256 * 1024])
            await writer.drain()
        writer.write(b"\r\n.\r\n")
        reply = await reader.readline()
        if not reply.startswith(b"250"):
            sys.exit(f"The mail of the disturbance was answered with {reply.decode()}")
        writer.close()
        await asyncio.sleep(EVERY)


def large_attachment() -> bytes:
    lines = base64.encodebytes(os.urandom(21 * MEBIBYTE)).replace(b"\n", b"\r\n")
    parts = [
        HEAD % b"attachment" + b'Content-Type: multipart/mixed; boundary="XX"\r\n\r\n--XX\r\n\r\nSee the file.\r\n',
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        b"Content-Disposition: attachment; filename=large.bin\r\n\r\n" + lines,
    ]
    return b"--XX\r\n".join(parts) + b"--XX--\r\n"


def large_html() -> bytes:
    line = b"<p>A line of <b>text</b> with a <a href='https://example.com/x'>link</a></p>\r\n"
    return HEAD % b"html" + b"Content-Type: text/html\r\n\r\n" + line * (29 * MEBIBYTE // len(line))


def many_parts() -> bytes:
    kind = b'Content-Type: multipart/mixed; boundary="XX"\r\n\r\n'
    return HEAD % b"parts" + kind + b"--XX\r\nContent-Type: text/plain\r\n\r\npart\r\n" * 100_000 + b"--XX--\r\n"


def large_headers() -> bytes:
    header = b"X-Header: %b\r\n" % (b"v" * 80)
    return HEAD % b"headers" + header * (10 * MEBIBYTE // len(header)) + b"\r\nText\r\n"


DISTURBANCES: dict[str, Disturbance] = {
    "nothing": nothing,
    "20 clients that stall in a command": partial(connections, count=20, words=b"EHLO stalls.example\r\nMAIL FR"),
    "20 clients that stall in DATA": partial(
        connections,
        count=20,
        words=b"EHLO stalls.example\r\nMAIL FROM:<>\r\nRCPT TO:<RECIPIENT>\r\nDATA\r\nSubject: never\r\n",
    ),
    f"{IDLE} idle connections": partial(connections, count=IDLE, words=b"EHLO idle.example\r\n", silent=SPARED),
    "mails of 30 MiB with an attachment": partial(repeated, text=large_attachment),
    "mails of 30 MiB of HTML": partial(repeated, text=large_html),
    "mails of 100,000 parts": partial(repeated, text=many_parts),
    "mails with headers of 10 MB": partial(repeated, text=large_headers),
}


# --- Side by side ---------------------------------------------------------------------------------------------------------


@dataclass
class Comparison:
    """The p99 of each quiet and each disturbed run, in milliseconds, in the order in which they took turns."""

    usual: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return median(self.disturbed) / median(self.usual)

    @property
    def noise(self) -> float:
        """The slowest quiet run against the quickest."""
        return max(self.usual) / min(self.usual)

    def __str__(self) -> str:
        usual, disturbed = (" · ".join(map(shown, runs)) for runs in (self.usual, self.disturbed))
        verdict = "within" if self.ratio <= TARGET else "BEYOND"
        return f"{usual} → {disturbed} ms: {self.ratio:.2f} × ({verdict} {TARGET:g} ×; quiet runs differ by {self.noise:.2f} ×)"


Comparisons = dict[tuple[str, str], Comparison]  # by disturbance, and by what was measured


def one_run(options: Namespace, compared: Comparisons) -> None:
    with new_database() as environment, Mailbot(environment) as bot:
        recipient = own_inbox(bot)
        uvloop.run(feel(bot, 2, options.rate))
        for name, disturbance in DISTURBANCES.items():
            if options.only.lower() in name.lower():
                uvloop.run(side_by_side(bot, partial(disturbance, bot.smtp_port, recipient), name, options, compared))


async def side_by_side(
    bot: Mailbot,
    disturbed: Callable[[], AbstractAsyncContextManager[None]],
    name: str,
    options: Namespace,
    compared: Comparisons,
) -> None:
    for _ in range(options.rounds):
        usual = await feel(bot, options.seconds, options.rate)
        async with disturbed():
            felt = await feel(bot, options.seconds, options.rate)
        await asyncio.sleep(2)  # what is left of it, so that the next one begins in quiet
        for what in MEASURED:
            comparison = compared.setdefault((name, what), Comparison())
            comparison.usual.append(percentile(getattr(usual, what), 0.99))
            comparison.disturbed.append(percentile(getattr(felt, what), 0.99))
    for what in MEASURED:
        print(f"{name}: p99 {what} {compared[name, what]}", flush=True)


def own_inbox(bot: Mailbot) -> str:
    headers = {"Authorization": f"Bearer {bot.key}"}
    answer = httpx.post(f"http://{HOST}:{bot.port}/v1/inboxes", json={}, headers=headers)
    return str(answer.json()["data"]["address"])


def figures_of(name: str, what: str, comparison: Comparison) -> list[Figure]:
    title = f"{name}: p99 {what}"
    ratios = [after / before for before, after in zip(comparison.usual, comparison.disturbed, strict=True)]
    return [
        Figure(f"{title}, usual / {profile()}", "ms", comparison.usual),
        Figure(f"{title}, disturbed / {profile()}", "ms", comparison.disturbed),
        Figure(f"{title} / {profile()}", "×", ratios),
        Figure(f"{title}, quiet runs among themselves / {profile()}", "×", [comparison.noise]),
    ]


def main() -> None:
    parser = options_of(__doc__, seconds=8.0, rate=80.0, rounds=3)
    parser.set_defaults(runs=1)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    compared: Comparisons = {}
    for _ in range(options.runs):
        one_run(options, compared)
    report([figure for (name, what), each in compared.items() for figure in figures_of(name, what, each)])
    if beyond := [f"{what} beside {name}" for (name, what), each in compared.items() if each.ratio > TARGET]:
        print(f"Beyond {TARGET:g} ×: {', '.join(beyond)}.")


if __name__ == "__main__":
    main()
