"""How soon an open wait answers after the 250, idle and with thousands of other waits open, and what a wait takes of memory.

    python -m benchmarks.waits [--samples 100] [--open 2000] [--runs 3]

One process each of web, smtp and worker (two pool processes), and everything measured in one event loop here. A sample: a wait opens
on a connection that is warm, 60 to 160 ms later a mail for its inbox is sent by a warm SMTP connection, and the time is taken from the
250 to the first octet of the answer.

The others (`--open`, 0 leaves that out) hold one wait each, every one on an inbox of its own, and open it again as soon as it ends,
which each does after 25 s, evenly spread: 80 a second for 2,000. Memory per wait is what the web process has grown by (PSS) since it had
answered a hundred waits and had none open. At last all of them wait for one inbox, and one mail for it is sent.
"""

import asyncio
import random
import resource
import sys
from datetime import UTC, datetime
from time import perf_counter
from typing import cast

import uvloop

from benchmarks import usage
from benchmarks.figures import options_of, percentile, report
from benchmarks.lab import HOST, INBOXES, Mailbot, in_django, new_database
from benchmarks.pipeline import Results, warm_up

LONGEST_MS = 25_000
OPENED_AT_ONCE = 20
SETTLES = 3.0  # seconds, until what was opened last is asleep
OTHERS = """
import django; django.setup()
from inboxes.models import Account, Inbox
account = Account.objects.get()
rows = [Inbox(account=account, mode="test", address=f"other{{number}}@mailbot.localhost", local_part=f"other{{number}}",
              domain="mailbot.localhost") for number in range({number})]
Inbox.objects.bulk_create(rows, batch_size=500)
print(" ".join(row.pk for row in rows))
"""


class WaitClient(asyncio.Protocol):
    """A connection to the API that holds one wait at a time."""

    def __init__(self, key: str) -> None:
        self._head = f" HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n\r\n"
        self._answer: asyncio.Future[tuple[int, float]] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def wait(self, inbox_id: str, timeout_ms: int = LONGEST_MS) -> asyncio.Future[tuple[int, float]]:
        """(status, when its first octet was here)"""
        self._answer = asyncio.get_running_loop().create_future()
        after = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        path = f"/v1/inboxes/{inbox_id}/messages/wait?after={after}&timeout_ms={timeout_ms}"
        self._transport.write(f"GET {path}{self._head}".encode())
        return self._answer

    def data_received(self, data: bytes) -> None:
        if not self._received:
            self._first = perf_counter()
        self._received += data
        if self._is_whole() and self._answer is not None and not self._answer.done():
            status = int(self._received.split(b" ", 2)[1])
            self._received = b""
            self._answer.set_result((status, self._first))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("The web process closed the connection"))

    def close(self) -> None:
        self._transport.close()

    def _is_whole(self) -> bool:
        head, _, body = self._received.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return len(body) >= int(line.partition(b":")[2])
        return body.endswith(b"0\r\n\r\n")


class Sender:
    """A warm SMTP connection."""

    async def open(self, port: int) -> "Sender":
        self._reader, self._writer = await asyncio.open_connection(HOST, port)
        await self._expect(b"220")
        await self._say(b"EHLO waits.example\r\n", b"250")
        return self

    async def send(self, recipient: str) -> float:
        """Send a small mail; when its 250 was here."""
        await self._say(
            f"MAIL FROM:<a@example.com>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode(), b"250", b"250", b"354"
        )
        text = f"Subject: news {random.random()}\r\n\r\nYour code is 482913.\r\n.\r\n"
        await self._say(text.encode(), b"250")
        return perf_counter()

    async def _say(self, text: bytes, *codes: bytes) -> None:
        self._writer.write(text)
        for code in codes:
            await self._expect(code)

    async def _expect(self, code: bytes) -> None:
        while (line := await self._reader.readline())[3:4] == b"-":
            pass
        if not line.startswith(code):
            raise ValueError(line.decode())


async def connected(bot: Mailbot) -> WaitClient:
    _, client = await asyncio.get_running_loop().create_connection(lambda: WaitClient(bot.key), HOST, bot.port)
    return client


async def samples(bot: Mailbot, number: int) -> list[float]:
    """Milliseconds from the 250 until the wait answers."""
    client, sender = await connected(bot), await Sender().open(bot.smtp_port)
    found = []
    for sample in range(number + 5):
        inbox = sample % INBOXES
        answer = client.wait(bot.inbox_ids[inbox])
        await asyncio.sleep(0.06 + random.random() / 10)
        accepted = await sender.send(f"bench{inbox}@mailbot.localhost")
        status, answered = await answer
        if status != 200:
            sys.exit(f"A wait was answered with {status}.")
        found.append((answered - accepted) * 1000)
    client.close()
    return found[5:]  # the first ones warm the connections up


class Others:
    """Many open waits. `ended` counts those that were over and opened again, `wrong` answers that were neither."""

    def __init__(self, bot: Mailbot, inbox_ids: list[str]) -> None:
        self._bot, self._inbox_ids = bot, inbox_ids
        self.ended = self.wrong = 0

    async def open(self) -> None:
        self.clients: list[WaitClient] = []
        for start in range(0, len(self._inbox_ids), OPENED_AT_ONCE):
            count = len(self._inbox_ids[start : start + OPENED_AT_ONCE])
            self.clients += await asyncio.gather(*(connected(self._bot) for _ in range(count)))
        pairs = zip(self.clients, self._inbox_ids, strict=True)
        self._held = [asyncio.ensure_future(self._hold(client, inbox_id)) for client, inbox_id in pairs]
        await asyncio.sleep(LONGEST_MS / 1000)  # by then all are spread evenly
        await asyncio.sleep(SETTLES)

    async def _hold(self, client: WaitClient, inbox_id: str) -> None:
        await asyncio.sleep(random.random() * LONGEST_MS / 1000)
        while True:
            status, _ = await client.wait(inbox_id)
            self.ended += 1
            self.wrong += status != 408

    async def close(self) -> None:
        for held in self._held:
            held.cancel()
        await asyncio.gather(*self._held, return_exceptions=True)
        for client in self.clients:
            client.close()


async def herd(bot: Mailbot, number: int) -> list[float]:
    """Milliseconds from one 250 until each of so many waits for that inbox has answered. Empty where some ended before the mail."""
    clients = []
    for _ in range(0, number, OPENED_AT_ONCE):
        clients += await asyncio.gather(*(connected(bot) for _ in range(OPENED_AT_ONCE)))
    sender, probe = await Sender().open(bot.smtp_port), await connected(bot)
    answers = []
    for start in range(0, len(clients), OPENED_AT_ONCE):
        answers += [client.wait(bot.inbox_ids[0]) for client in clients[start : start + OPENED_AT_ONCE]]
        await probe.wait(
            bot.inbox_ids[0], timeout_ms=0
        )  # calls are taken in turn: those before it are nearly all asleep
    await asyncio.sleep(1.0)
    is_complete = not any(answer.done() for answer in answers)
    accepted = await sender.send("bench0@mailbot.localhost")
    answered = await asyncio.gather(*answers)
    for client in [*clients, probe]:
        client.close()
    if not is_complete or any(status != 200 for status, _ in answered):
        print(f"{number} waits cannot be opened within {LONGEST_MS // 1000} s here: not measured.")
        return []
    return [(moment - accepted) * 1000 for _, moment in answered]


async def one_run(bot: Mailbot, number: int, others: list[str], results: Results) -> None:
    cpu = usage.of_tree(bot.pid("web"))
    idle = await samples(bot, number)
    results.note(
        "CPU of web for one wait, opened and answered",
        "ms",
        (usage.of_tree(bot.pid("web")) - cpu) / (number + 5) * 1000,
    )
    results.note("250 to the open wait's answer, idle, p50", "ms", percentile(idle, 0.50))
    results.note("250 to the open wait's answer, idle, p95", "ms", percentile(idle, 0.95))
    if not others:
        return
    await samples(bot, 100)
    before = usage.memory(bot.pid("web"))
    crowd = Others(bot, others)
    await crowd.open()
    crowded = await samples(bot, number)
    grown = usage.memory(bot.pid("web")) - before
    await crowd.close()
    if crowd.wrong:
        sys.exit(f"{crowd.wrong} of {crowd.ended} waits that should have timed out ended otherwise.")
    results.note("250 to the open wait's answer, many open, p50", "ms", percentile(crowded, 0.50))
    results.note("250 to the open wait's answer, many open, p95", "ms", percentile(crowded, 0.95))
    results.note("memory per wait", "kB", grown / len(others) / 1000)
    await asyncio.sleep(SETTLES)
    cpu = usage.of_tree(bot.pid("web"))
    all_at_once = await herd(bot, len(others))
    if not all_at_once:
        return
    results.note(
        "CPU of web for a wait of many, opened and answered",
        "ms",
        (usage.of_tree(bot.pid("web")) - cpu) / len(others) * 1000,
    )
    results.note("one mail for all waits, p50", "ms", percentile(all_at_once, 0.50))
    results.note("one mail for all waits, the last", "ms", max(all_at_once))


def main() -> None:
    options = options_of(__doc__, samples=100, open=2000).parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # ours, and that of the processes we start
    if hard < options.open + 200:
        sys.exit(f"Only {hard} files may be open (ulimit -n): too few for {options.open} waits.")
    results = Results()
    for _ in range(options.runs):
        with new_database() as environment, Mailbot(environment) as bot:
            warm_up(bot)
            others = in_django(OTHERS.format(number=options.open), bot.environment).split() if options.open else []
            uvloop.run(one_run(bot, options.samples, others, results))
    report(results.figures())


if __name__ == "__main__":
    main()
