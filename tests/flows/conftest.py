"""A whole mailbot for the tests of this folder: the Procfile's processes on ports, a database and a folder of their own.

It runs mailbot's real settings, on the profile that DATABASE_URL and REDIS_URL choose.
"""

import contextlib
import os
import secrets
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import redis

from mailbot.quickstart.processes import child_environment, leash, procfile_commands
from mailbot.quickstart.readiness import smtp_greets, web_answers

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
READY_WITHIN = 45.0  # seconds, with both cores busy
STOPS_WITHIN = 10.0
LOOKS_EVERY = 0.05
REDIS_NUMBERS = range(2, 16)  # 0 and 1 may be somebody's own
LOG_SHOWN = 8_000  # characters of each process that a failed test shows


def until(condition: Callable[[], bool], what: str, seconds: float = READY_WITHIN) -> None:
    """Look until `condition` holds. Fails the test with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"Not within {seconds:.0f} s: {what}")
        time.sleep(LOOKS_EVERY)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


class Server:
    """A running mailbot. `smtp` is "host:port"; `api_key` a test key with all rights, of the account "Flows"."""

    def __init__(self, var: Path, environment: dict[str, str]) -> None:
        self.var = var
        self.port, self.smtp_port = free_ports(2)
        self.url = f"http://{HOST}:{self.port}"
        self.smtp = f"{HOST}:{self.smtp_port}"
        self.environment = child_environment(
            **environment,
            DJANGO_SETTINGS_MODULE="mailbot.settings",
            MAILBOT_VAR=str(var),
            MAILBOT_HOST=HOST,
            MAILBOT_PORT=str(self.port),
            MAILBOT_SMTP_PORT=str(self.smtp_port),
        )
        self.commands = procfile_commands(ROOT)
        self.api_key = ""
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._seen: dict[str, int] = {}

    # --- What a test may do with it -----------------------------------------------------------------------------------

    def manage(self, *arguments: str) -> str:
        """The output of `manage.py …` with the server's settings. Fails when the command does."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def issue_key(self, account: str = "Flows", mode: str = "test") -> str:
        """The secret of a new key; the account is made when there is none of that name."""
        return self.manage("issue_key", "--account", account, "--create", "--mode", mode)

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Send `how` to a process and all of its children, and wait for its end. `name` as in the Procfile."""
        process = self._running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        process.wait(STOPS_WITHIN)

    def start(self, name: str) -> None:
        """Start a process that does not run, and wait until it does its work."""
        self._spawn(name)
        self._wait_for(name)

    # --- Its life -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        for name in self.commands:
            self._spawn(name)
        self.api_key = self.issue_key()
        for name in self.commands:
            self._wait_for(name)

    def mend(self) -> None:
        """Bring back what a test has killed."""
        for name in self.commands:
            if name not in self._running or self._running[name].poll() is not None:
                self.start(name)

    def end(self) -> None:
        """At once: whether it stops cleanly is a test of test_make_run.py, and would take each run five seconds more."""
        for name in list(self._running):
            self.kill(name)

    def remember_logs(self) -> None:
        """What is in the logs by now is no news for the test that begins."""
        self._seen = {name: self._log(name).stat().st_size for name in self.commands}

    def news(self) -> Iterator[tuple[str, str]]:
        """Name and new output of each process that has said something since `remember_logs`."""
        for name in self.commands:
            text = self._log(name).read_bytes()[self._seen.get(name, 0) :].decode(errors="replace").strip()
            if text:
                yield name, text[-LOG_SHOWN:]

    def _log(self, name: str) -> Path:
        return self.var / f"{name}.log"

    def _spawn(self, name: str) -> None:
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*leash(), "sh", "-c", self.commands[name]],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_for(self, name: str) -> None:
        question = {
            "web": lambda: web_answers(HOST, self.port),
            "smtp": lambda: smtp_greets(HOST, self.smtp_port),
            "worker": self._mail_is_filed(),
        }.get(name, lambda: True)
        until(lambda: self._is_alive(name) and question(), f"{name} does its work")

    def _is_alive(self, name: str) -> bool:
        code = self._running[name].poll()
        if code is not None:
            pytest.fail(
                f"{name} has ended (exit code {code}):\n{self._log(name).read_text(errors='replace')[-LOG_SHOWN:]}"
            )
        return True

    def _mail_is_filed(self) -> Callable[[], bool]:
        """Whether a mail that is sent now becomes a message: nothing else shows from outside that a worker works."""
        inbox: dict[str, Any] = {}

        def question() -> bool:
            with httpx.Client(base_url=f"{self.url}/v1", headers={"Authorization": f"Bearer {self.api_key}"}) as http:
                if not inbox:
                    inbox.update(http.post("/inboxes", json={}).json()["data"])
                    with smtplib.SMTP(HOST, self.smtp_port, timeout=10) as smtp:
                        smtp.sendmail(
                            "flows@example.com", [inbox["address"]], b"Subject: Are you there?\r\n\r\nYes?\r\n"
                        )
                return bool(http.get(f"/inboxes/{inbox['id']}/messages").json()["data"])

        return question


# --- Fixtures -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def own_database() -> Iterator[dict[str, str]]:
    """DATABASE_URL with a database that is made for these tests and dropped after them; nothing on SQLite."""
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        yield {"DATABASE_URL": ""}
        return
    name = f"mailbot_flows_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield {"DATABASE_URL": urlsplit(url)._replace(path=f"/{name}").geturl()}
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def own_redis() -> Iterator[dict[str, str]]:
    """REDIS_URL with a database number that no other test run uses, empty before and after; nothing on the embedded profile."""
    url = os.environ.get("REDIS_URL", "")
    if not url:
        yield {"REDIS_URL": ""}
        return
    for number in REDIS_NUMBERS:
        mine = urlsplit(url)._replace(path=f"/{number}").geturl()
        with redis.Redis.from_url(mine) as connection:
            # The claim runs out by itself, for runs that were killed.
            if connection.set("claimed-by-tests", os.getpid(), nx=True, ex=1800):
                yield {"REDIS_URL": mine}
                connection.flushdb()
                return
    pytest.fail("Every database number of Redis is claimed by another test run.")


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, own_database: dict[str, str], own_redis: dict[str, str]
) -> Iterator[Server]:
    """A whole mailbot, one for each xdist worker. Tests share it: make accounts and inboxes of your own."""
    server = Server(tmp_path_factory.mktemp("var"), {**own_database, **own_redis})
    try:
        server.begin()
        yield server
    finally:
        server.end()


@pytest.fixture(autouse=True)
def whole_server(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test has killed is brought back for the next one."""
    if "server" not in request.fixturenames:
        yield
        return
    server: Server = request.getfixturevalue("server")
    server.remember_logs()
    yield
    server.mend()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failed test shows what the processes said meanwhile."""
    report = yield
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and isinstance(server, Server):
        report.sections += [(f"Output of {name}", text) for name, text in server.news()]
    return report
