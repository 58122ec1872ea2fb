"""An HTTP client that takes as little CPU as one can: keep-alive connections, each of which asks one thing after the other.

It shares the machine with the server. httpx would take more CPU for an answer than the server does.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

from benchmarks.figures import percentile
from benchmarks.lab import HOST


def request(method: str, path: str, key: str = "", body: bytes = b"") -> bytes:
    """HTTP/1.1, ready to be written."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class Answer:
    """As it came. Taking it apart is left to whoever wants to see it: most are only counted."""

    raw: bytes
    head_ends: int
    is_chunked: bool

    @property
    def status(self) -> int:
        return int(self.raw[9:12])

    @property
    def body(self) -> bytes:
        rest = self.raw[self.head_ends :]
        if not self.is_chunked:
            return rest
        parts = []
        while size := int(rest[: (end := rest.index(b"\r\n"))], 16):
            parts.append(rest[end + 2 : end + 2 + size])
            rest = rest[end + 4 + size :]
        return b"".join(parts)


class ApiClient(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._answer: asyncio.Future[Answer] | None = None
        self._begin()

    def ask(self, what: bytes) -> asyncio.Future[Answer]:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(what)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._head_ends:
            self._read_head()
        if self._head_ends and self._is_whole() and self._answer is not None:
            answer = Answer(bytes(self._received), self._head_ends, self._length is None)
            self._begin()
            self._answer.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("The web process closed the connection"))

    def close(self) -> None:
        self._transport.close()

    def _begin(self) -> None:
        self._received = bytearray()
        self._head_ends = 0
        self._length: int | None = None  # None: in chunks, as Django answers unless told otherwise

    def _read_head(self) -> None:
        end = self._received.find(b"\r\n\r\n")
        if end >= 0:
            self._head_ends = end + 4
            for line in bytes(self._received[:end]).lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    self._length = int(line.partition(b":")[2])

    def _is_whole(self) -> bool:
        """No JSON holds a line end that is not escaped, so the last chunk cannot be mistaken."""
        if self._length is None:
            return self._received.endswith(b"\r\n0\r\n\r\n")
        return len(self._received) - self._head_ends >= self._length


@dataclass
class Measured:
    """Some seconds of one kind of request. `took` is in milliseconds, each from asking to the last octet of the answer."""

    took: list[float] = field(default_factory=list)
    seconds: float = 0.0
    octets: int = 0

    @property
    def rate(self) -> float:
        return len(self.took) / self.seconds

    def at(self, share: float) -> float:
        return percentile(self.took, share)


async def ask_for(port: int, requests: list[Iterator[bytes]], seconds: float, status: int) -> Measured:
    """At full speed for so long, a connection for each iterator. Every answer must have that status.

    Raises RuntimeError with the answer that has another.
    """
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(ApiClient, HOST, port) for _ in requests]
    clients = [client for _, client in made]
    measured = Measured()
    began = perf_counter()
    ends = began + seconds
    try:
        await asyncio.gather(
            *(_ask(client, each, ends, status, measured) for client, each in zip(clients, requests, strict=True))
        )
    finally:
        for client in clients:
            client.close()
    measured.seconds = perf_counter() - began
    return measured


async def _ask(client: ApiClient, requests: Iterator[bytes], ends: float, status: int, measured: Measured) -> None:
    while (asked := perf_counter()) < ends:
        what = next(requests)
        answer = await client.ask(what)
        measured.took.append((perf_counter() - asked) * 1000)
        measured.octets += len(answer.raw)
        if answer.status != status:
            line, told = what.partition(b"\r\n")[0].decode(), answer.body[:500].decode(errors="replace")
            raise RuntimeError(f"{line} was answered {answer.status} instead of {status}: {told}")


async def ask_once(port: int, what: bytes) -> Answer:
    _, client = await asyncio.get_running_loop().create_connection(ApiClient, HOST, port)
    try:
        return await client.ask(what)
    finally:
        client.close()
