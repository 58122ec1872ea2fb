"""The mail that the benchmarks send, the client that sends it, and the ledger of what was promised."""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from benchmarks.lab import HOST, INBOXES

RUN = secrets.token_hex(4)
_TEXT = b"".join(b"Line %02d of the text of mail @@NUMBER, as long as such lines are.\r\n" % line for line in range(32))
_MAIL = (
    b"From: Customer <customer@@NUMBER@example.com>\r\nTo: bench@mailbot.localhost\r\nSubject: Question @@NUMBER\r\n"
    b"Message-ID: <@@NUMBER." + RUN.encode() + b"@example.com>\r\nDate: Mon, 5 Jan 2026 10:00:00 +0000\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="=_@@NUMBER"\r\n\r\n'
    b"--=_@@NUMBER\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + _TEXT + b"\r\n"
    b"--=_@@NUMBER\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>" + _TEXT + b"</p></body></html>\r\n"
    b"--=_@@NUMBER--\r\n"
)
_numbers = itertools.count()

# A mail and the time of the event loop before which it is not sent.
Due = tuple[float, bytes]


def mail(number: int) -> bytes:
    """About 5 kB of multipart mail, each one different."""
    return _MAIL.replace(b"@@NUMBER", b"%08d" % number)


@dataclass
class Ledger:
    """What was promised: for each inbox, in the order of the 250s, number and time (`time.perf_counter`)."""

    promised: list[list[tuple[int, float]]] = field(default_factory=lambda: [[] for _ in range(INBOXES)])
    began: float = field(default_factory=time.perf_counter)
    ended: float = 0.0

    @property
    def accepted(self) -> int:
        return sum(map(len, self.promised))

    @property
    def rate(self) -> float:
        return self.accepted / (self.ended - self.began)


class LoadClient(asyncio.Protocol):
    """One connection that sends its mails one after the other, MAIL and RCPT and DATA pipelined, and tells of each 250."""

    def __init__(self, recipient: str, mails: Iterator[Due], promised: Callable[[], None]) -> None:
        envelope = f"MAIL FROM:<sender@example.com>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"
        self._envelope = envelope.encode()
        self._mails = mails
        self._promised = promised
        self._buffer = b""
        self._expected = [b"220"]
        self._then: Callable[[], None] = self._greet
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods, not by its class

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n")) >= 0:
            line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
            if line[3:4] != b"-":
                self._answer(line)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("The server closed the connection"))

    def _answer(self, line: bytes) -> None:
        if self.done.done():
            return
        if not self._expected or not line.startswith(self._expected.pop(0)):
            self.done.set_exception(ValueError(line.decode()))
            self._transport.close()
        elif not self._expected:
            self._then()

    def _say(self, what: bytes, expected: list[bytes], then: Callable[[], None]) -> None:
        self._expected, self._then = expected, then
        self._transport.write(what)

    def _greet(self) -> None:
        self._say(b"EHLO load.example\r\n", [b"250"], self._next)

    def _next(self) -> None:
        due, text = next(self._mails, (0.0, b""))
        if not text:
            self.done.set_result(None)
            self._transport.close()
        elif (pause := due - self._loop.time()) > 0:
            self._loop.call_later(pause, self._send, text)
        else:
            self._send(text)

    def _send(self, text: bytes) -> None:
        self._say(self._envelope, [b"250", b"250", b"354"], lambda: self._say(text + b".\r\n", [b"250"], self._taken))

    def _taken(self) -> None:
        self._promised()
        self._next()


async def send(port: int, mails: Callable[[], Iterator[tuple[float, int]]], connections: int) -> Ledger:
    """Send by so many connections, each of which has an iterator of its own of (not before, number). All must be accepted."""
    loop = asyncio.get_running_loop()
    ledger = Ledger()
    clients = []
    for number in range(connections):
        inbox = number % INBOXES
        current = [0]
        promised = partial(_note, ledger.promised[inbox], current)
        _, client = await loop.create_connection(
            partial(LoadClient, f"bench{inbox}@mailbot.localhost", _remembering(mails(), current), promised), HOST, port
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    ledger.ended = time.perf_counter()
    return ledger


def _remembering(numbers: Iterable[tuple[float, int]], current: list[int]) -> Iterator[Due]:
    for due, number in numbers:
        current[0] = number
        yield due, mail(number)


def _note(promised: list[tuple[int, float]], current: list[int]) -> None:
    promised.append((current[0], time.perf_counter()))


async def send_for(port: int, seconds: float, connections: int = INBOXES) -> Ledger:
    """At full speed for so long."""
    ends = asyncio.get_running_loop().time() + seconds

    def mails() -> Iterator[tuple[float, int]]:
        while asyncio.get_running_loop().time() < ends:
            yield 0.0, next(_numbers)

    return await send(port, mails, connections)


async def send_paced(port: int, seconds: float, rate: float, connections: int = INBOXES) -> Ledger:
    """At `rate` mails a second, evenly. Slower when all connections wait for their 250s: the ledger's rate tells."""
    began = asyncio.get_running_loop().time()
    due = (began + number / rate for number in range(int(seconds * rate)))

    def mails() -> Iterator[tuple[float, int]]:
        for moment in due:
            yield moment, next(_numbers)

    return await send(port, mails, connections)


async def send_all(port: int, count: int, connections: int = INBOXES) -> Ledger:
    """So many mails at full speed, as many by each connection."""
    shares = iter([[next(_numbers) for _ in range(first, count, connections)] for first in range(connections)])
    return await send(port, lambda: ((0.0, number) for number in next(shares)), connections)


async def load(port: int, mails: list[bytes], connections: int) -> tuple[int, float]:
    """Send these mails at full speed: (accepted, seconds)."""
    loop = asyncio.get_running_loop()
    accepted: list[None] = []
    started = time.perf_counter()
    clients = []
    for number in range(connections):
        share = ((0.0, text) for text in mails[number::connections])
        recipient = f"bench{number % INBOXES}@mailbot.localhost"
        _, client = await loop.create_connection(
            partial(LoadClient, recipient, share, partial(accepted.append, None)), HOST, port
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    return len(accepted), time.perf_counter() - started
