"""A real SMTP server on a free port, in a thread with its own loop, and clients that say exactly what a test wants."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from delivery.inbound.smtp_server import SMTPLimits, SMTPServer
from delivery.models import InboundMail
from inboxes.models import Account, Inbox

PATIENCE = 15  # seconds after which a test that waits for a reply fails


class Client:
    """Octets out, replies in."""

    def __init__(self, port: int, *, greet: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.lines = self.socket.makefile("rb")
        self.greeting = self.reply()
        if greet:
            assert self.command("EHLO client.example").startswith("250")

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def reply(self) -> str:
        """One whole reply; the empty string when the server has closed the connection."""
        lines = []
        while line := self.lines.readline():
            lines.append(line.decode().removesuffix("\r\n"))
            if line[3:4] != b"-":
                break
        return "\n".join(lines)

    def command(self, line: str) -> str:
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def begin(self, *recipients: str, sender: str = "sender@example.com") -> None:
        """Up to the 354 of DATA."""
        assert self.command(f"MAIL FROM:<{sender}>").startswith("250")
        for recipient in recipients:
            assert self.command(f"RCPT TO:<{recipient}>").startswith("250")
        assert self.command("DATA").startswith("354")

    def deliver(self, recipient: str, text: bytes) -> str:
        """One mail; `text` is sent as it is, with the end of data behind it."""
        self.begin(recipient)
        self.send(text + b".\r\n")
        return self.reply()

    def is_closed(self) -> bool:
        """Waits until the server closes, whatever it says before."""
        with suppress(ConnectionResetError):
            while self.socket.recv(4096):
                pass
        return True

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


class Server:
    """SMTPServer, driven from the thread of the test."""

    def __init__(self, limits: SMTPLimits, **options: Any) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="smtp under test")
        self._thread.start()
        self._clients: list[Client] = []
        self.port, self.smtp = self._run(self._start(limits, options))

    async def _start(self, limits: SMTPLimits, options: dict[str, Any]) -> tuple[int, SMTPServer]:
        listening = socket.create_server(("127.0.0.1", 0))
        server = SMTPServer(limits, hostname="mailbot.localhost", **options)
        await server.start(listening)
        return listening.getsockname()[1], server

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    def client(self, *, greet: bool = True) -> Client:
        self._clients.append(Client(self.port, greet=greet))
        return self._clients[-1]

    def begin_stop(self) -> Callable[[], None]:
        """Tell it to stop; call the result to wait until it has."""
        stopping = asyncio.run_coroutine_threadsafe(self.smtp.stop(), self._loop)
        return lambda: stopping.result(timeout=30)

    def end(self) -> None:
        for client in self._clients:
            client.close()
        self._run(self.smtp.stop(grace=0.2))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


LIMITS = SMTPLimits(
    max_size=100_000,
    max_connections=100,
    max_recipients=20,
    idle_timeout=30,
    max_queued_octets=10_000_000,
)


@pytest.fixture
def start_smtp(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Start a server; limits of its own and `find`, `store`, `tls_context` as keywords."""
    monkeypatch.setattr("mailbot.lib.hints.send", lambda task: None)
    servers: list[Server] = []

    def start(*, find: Any = None, store: Any = None, tls_context: Any = None, **limits: Any) -> Server:
        given = {"find": find, "store": store, "tls_context": tls_context}
        options = {name: value for name, value in given.items() if value is not None}
        servers.append(Server(replace(LIMITS, **limits), **options))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture
def smtp_server(start_smtp: Callable[..., Server]) -> Server:
    return start_smtp()


@pytest.fixture
def account(transactional_db: None) -> Account:
    return Account.objects.create(name="Alice's")


@pytest.fixture
def make_inbox(account: Account) -> Callable[..., Inbox]:
    def make(name: str, **fields: Any) -> Inbox:
        address = f"{name}@mailbot.localhost"
        return Inbox.objects.create(
            account=account, mode="test", address=address, local_part=name, domain="mailbot.localhost", **fields
        )

    return make


@pytest.fixture
def inbox(make_inbox: Callable[..., Inbox]) -> Inbox:
    return make_inbox("support")


def stored_mails() -> list[bytes]:
    return [bytes(raw) for raw in InboundMail.objects.order_by("id").values_list("raw", flat=True)]
