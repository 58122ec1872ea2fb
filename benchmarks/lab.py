"""A place to measure in: a database of one's own, and a mailbot on it with the processes of the Procfile on free ports.

DATABASE_URL and REDIS_URL choose the profile, as ever. The database is made for the measurement and dropped afterwards; without
DATABASE_URL it is a new SQLite file.
"""

import contextlib
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import psycopg

from benchmarks import usage
from mailbot.quickstart.processes import child_environment, leash, procfile_commands
from mailbot.quickstart.readiness import smtp_greets, web_answers

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
INBOXES = 20
READY_WITHIN = 60.0  # seconds
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
KEY = """
import django; django.setup()
from inboxes.keys import issue_key
from inboxes.models import Account
print(issue_key(account=Account.objects.get(), name="bench", mode="test")[1])
"""


@contextmanager
def new_database() -> Iterator[dict[str, str]]:
    """The environment of a server with an empty database."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that it is dropped then, too
    url = os.environ.get("DATABASE_URL", "")
    name = f"mailbot_bench_{os.getpid()}_{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory(prefix="mailbot-bench-", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "MAILBOT_VAR": folder, "DJANGO_SETTINGS_MODULE": "mailbot.settings"}
        # So much that none is reached: counting is part of the price.
        environment |= {f"MAILBOT_RATE_LIMIT_{name}": "1000000/second" for name in ("KEY", "ACCOUNT")}
        environment["MAILBOT_LOOP_PAIR_LIMIT"] = "0"  # some of them write to one address
        if not url:
            yield {**environment, "REDIS_URL": ""}
            return
        environment.setdefault("REDIS_URL", "redis://127.0.0.1:6379/15")  # the doorbell is part of the price
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
            try:
                yield {**environment, "DATABASE_URL": urlsplit(url)._replace(path=f"/{name}").geturl()}
            finally:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


FOR_EVERYBODY = (
    "from mailbot.lib.scope import act_for_everybody_outside_of_requests; act_for_everybody_outside_of_requests()"
)


def in_django(code: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", FOR_EVERYBODY + code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"This failed in Django:\n{code}\n{done.stderr}")
    return done.stdout


@contextmanager
def server(command: list[str], environment: dict[str, str]) -> Iterator[int]:
    """An SMTP server that prints "… at host:port" once it listens; its port."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().split()[3].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], what: str, seconds: float = READY_WITHIN, pause: float = 0.05) -> None:
    """Ends the benchmark with `what` when it does not come to be in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"Not within {seconds:.0f} s: {what}")
        time.sleep(pause)


class Store:
    """The server's database, read as it is committed. Reading here costs the servers that are measured next to nothing."""

    def __init__(self, environment: dict[str, str]) -> None:
        url = environment.get("DATABASE_URL", "")
        self._connection: Any = (
            psycopg.connect(url, autocommit=True)
            if url
            else sqlite3.connect(
                f"file:{environment['MAILBOT_VAR']}/mailbot.sqlite3?mode=ro", uri=True, isolation_level=None
            )
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return list(self._connection.execute(sql).fetchall())

    def close(self) -> None:
        self._connection.close()

    def inbox_ids(self) -> list[str]:
        """Of the inboxes that the load goes to, by their number."""
        found = dict(self.rows("SELECT local_part, id FROM inboxes_inbox WHERE local_part LIKE 'bench%'"))
        return [found[f"bench{number}"] for number in range(INBOXES)]

    def visible(self) -> dict[str, int]:
        """How many messages each inbox of the load has: an API call sees what is committed, and no more."""
        return dict(self.rows("SELECT id, message_count FROM inboxes_inbox WHERE local_part LIKE 'bench%'"))


class Mailbot:
    """A running mailbot in `environment`, with INBOXES inboxes unless the database has been prepared.

    `workers` is the worker's number of pool processes (MAILBOT_WORKERS), `processes` those of the Procfile that are started.
    """

    def __init__(
        self,
        environment: dict[str, str],
        *,
        workers: int = 2,
        prepared: bool = False,
        processes: Collection[str] = ("web", "smtp", "worker", "beat"),
    ) -> None:
        self._names = processes
        self.port, self.smtp_port = free_port(), free_port()
        self.environment = child_environment(
            **{name: value for name, value in environment.items() if name != "PATH"},
            MAILBOT_HOST=HOST,
            MAILBOT_PORT=str(self.port),
            MAILBOT_SMTP_PORT=str(self.smtp_port),
            MAILBOT_WORKERS=str(workers),
            MAILBOT_LOG_LEVEL="WARNING",
            PYTHONWARNINGS="ignore",
        )
        self._log = Path(environment["MAILBOT_VAR"]) / "processes.log"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        if not prepared:
            in_django(PREPARE, self.environment)
        self.key = in_django(KEY, self.environment).strip()

    def __enter__(self) -> "Mailbot":
        self.store = Store(self.environment)
        self.inbox_ids = self.store.inbox_ids()
        try:
            for name, command in procfile_commands(ROOT).items():
                if name in self._names:
                    self.start(name, command)
            until(lambda: web_answers(HOST, self.port), "the web process answers")
            until(lambda: "smtp" not in self._names or smtp_greets(HOST, self.smtp_port), "the smtp process greets")
        except BaseException:
            self._stop(failed=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(failed=error is not None)

    def _stop(self, *, failed: bool) -> None:
        self.store.close()
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if failed:
            print(self._log.read_text(errors="replace")[-4000:], file=sys.stderr)

    def start(self, name: str, command: str, **environment: str) -> None:
        """A process more; it is stopped with the others."""
        with self._log.open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*leash(), "sh", "-c", command],
                cwd=ROOT,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, name: str) -> None:
        """One of them, at once."""
        process = self._running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def pid(self, name: str) -> int:
        """Of the process with that name in the Procfile."""
        return self._running[name].pid

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by process; those of the database and Redis servers are counted where they are on this machine."""
        spent = {name: usage.of_tree(process.pid) for name, process in self._running.items()}
        if url := self.environment.get("DATABASE_URL"):
            spent["PostgreSQL"] = usage.of_postgresql(url)
            spent["Redis"] = usage.of_redis(self.environment["REDIS_URL"])
        spent["load client"] = time.process_time()
        return spent
