"""How many mails a second our SMTP server accepts and has committed, beside a bare aiosmtpd that stores nothing.

    .venv/bin/python benchmarks/smtp_intake.py [--mails 10000] [--connections 20] [--runs 3] [--processes 1]

Both servers run as processes of their own, one after the other in each run, on uvloop, with the same load from this process, all on
127.0.0.1. Without DATABASE_URL ours stores in a new SQLite file; with it, in a new database of that PostgreSQL server, which is dropped
afterwards, and rings a Redis (REDIS_URL, or number 15 of the local one). The count of rows is compared with the count of 250s at the end.
"""

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import psycopg
import uvloop

ROOT = Path(__file__).resolve().parent.parent
INBOXES = 20
BARE = """
import asyncio, socket, sys, uvloop
from aiosmtpd.smtp import SMTP
class Nowhere:
    async def handle_DATA(self, server, session, envelope):
        return "250 OK"
async def main():
    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    await loop.create_server(lambda: SMTP(Nowhere(), hostname="bare", loop=loop), sock=listening)
    print("Receiving mail at %s:%s" % listening.getsockname(), flush=True)
    await asyncio.Event().wait()
uvloop.run(main())
"""
PREPARE = f"""
import django; django.setup()
from django.core.management import call_command
from inboxes.models import Account, Inbox
call_command("migrate", verbosity=0)
account = Account.objects.create(name="benchmark")
for number in range({INBOXES}):
    Inbox.objects.create(account=account, mode="test", address=f"bench{{number}}@mailbot.localhost",
                         local_part=f"bench{{number}}", domain="mailbot.localhost")
"""
COUNT = "import django; django.setup(); from delivery.models import InboundMail; print(InboundMail.objects.count())"


def mail(number: int) -> bytes:
    """About 5 kB of multipart mail, each one different."""
    boundary = f"=_{number:032d}"
    lines = "".join(f"Line {line} of the text of mail {number}, as long as such lines are.\r\n" for line in range(32))
    return (
        f"From: Customer <customer{number}@example.com>\r\nTo: bench@mailbot.localhost\r\nSubject: Question {number}\r\n"
        f"Message-ID: <{number}.{time.monotonic_ns()}@example.com>\r\nDate: Mon, 5 Jan 2026 10:00:00 +0000\r\n"
        f'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'
        f"--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{lines}\r\n"
        f"--{boundary}\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>{lines}</p></body></html>\r\n"
        f"--{boundary}--\r\n"
    ).encode()


class LoadClient(asyncio.Protocol):
    """One connection that sends its mails one after the other, MAIL and RCPT and DATA pipelined, and counts the 250s."""

    def __init__(self, recipient: str, mails: list[bytes]) -> None:
        envelope = f"MAIL FROM:<sender@example.com>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"
        self._envelope = envelope.encode()
        self._mails = mails
        self._buffer = b""
        self.accepted = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._steps = self._script()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods, not by its class
        next(self._steps)

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
        try:
            self._steps.send(line)
        except StopIteration:
            self._transport.close()
            self.done.set_result(None)
        except ValueError as error:
            self._transport.close()
            self.done.set_exception(error)

    def _script(self) -> Generator[None, bytes, None]:
        _expect((yield), b"220")
        self._transport.write(b"EHLO load.example\r\n")
        _expect((yield), b"250")
        for text in self._mails:
            self._transport.write(self._envelope)
            for code in (b"250", b"250", b"354"):
                _expect((yield), code)
            self._transport.write(text + b".\r\n")
            _expect((yield), b"250")
            self.accepted += 1


def _expect(line: bytes, code: bytes) -> None:
    if not line.startswith(code):
        raise ValueError(line.decode())


async def load(port: int, mails: list[bytes], connections: int) -> tuple[int, float]:
    """(accepted, seconds)"""
    loop = asyncio.get_running_loop()
    shares = [mails[start::connections] for start in range(connections)]
    started = time.perf_counter()
    clients = []
    for number, share in enumerate(shares):
        recipient = f"bench{number % INBOXES}@mailbot.localhost"
        _, client = await loop.create_connection(partial(LoadClient, recipient, share), "127.0.0.1", port)
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    return sum(client.accepted for client in clients), time.perf_counter() - started


@contextmanager
def server(command: list[str], environment: dict[str, str]) -> Iterator[int]:
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().split()[3].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def measure(
    command: list[str], environment: dict[str, str], mails: list[bytes], connections: int
) -> tuple[int, float, float]:
    """(accepted, mails a second, CPU milliseconds of the server a mail)"""
    before = _cpu_of_children()
    with server(command, environment) as port:
        accepted, seconds = uvloop.run(load(port, mails, connections))
    return accepted, accepted / seconds, (_cpu_of_children() - before) / len(mails) * 1000


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def new_database() -> Iterator[dict[str, str]]:
    """The environment of a server with an empty database."""
    url = os.environ.get("DATABASE_URL", "")
    name = f"mailbot_bench_{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="mailbot-bench-") as folder:
        environment = {**os.environ, "MAILBOT_VAR": folder, "DJANGO_SETTINGS_MODULE": "mailbot.settings"}
        if not url:
            yield environment
            return
        environment.setdefault("REDIS_URL", "redis://127.0.0.1:6379/15")  # the doorbell is part of the price
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
            try:
                yield {**environment, "DATABASE_URL": urlsplit(url)._replace(path=f"/{name}").geturl()}
            finally:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def in_django(code: str, environment: dict[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mails", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    ours = [sys.executable, "manage.py", "smtp", "--port=0", f"--processes={options.processes}"]
    mails = [mail(number) for number in range(options.mails)]
    ratios = []
    with new_database() as environment:
        in_django(PREPARE, environment)
        promised = 0
        for run in range(1, options.runs + 1):
            _, bare_rate, _ = measure([sys.executable, "-c", BARE], environment, mails, options.connections)
            accepted, rate, cpu = measure(ours, environment, mails, options.connections)
            promised += accepted
            ratios.append(rate / bare_rate)
            print(
                f"run {run}: durable {rate:,.0f}/s, bare {bare_rate:,.0f}/s, ratio {ratios[-1]:.2f}; {cpu:.2f} ms CPU a mail"
            )
        stored = int(in_django(COUNT, environment))
    print(f"median ratio {statistics.median(ratios):.2f}; {promised:,} promised, {stored:,} stored")
    if promised != stored:
        sys.exit("What was promised and what is stored differ.")


if __name__ == "__main__":
    main()
