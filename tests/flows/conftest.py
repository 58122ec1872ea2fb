"""A whole mailbot for the tests of this folder: the Procfile's processes on ports, a database and a folder of their own.

It runs mailbot's real settings, on the profile that DATABASE_URL and REDIS_URL choose.
"""

import contextlib
import itertools
import os
import random
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
import pytest
import redis

from mailbot.quickstart.processes import child_environment, leash, procfile_commands
from mailbot.quickstart.readiness import smtp_greets, web_answers
from tests.flows.templates import ACCOUNT, key_of, postgres_copy

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
READY_WITHIN = 45.0  # seconds, with both cores busy
STOPS_WITHIN = 10.0
LOOKS_EVERY = 0.05
LEASE = 8  # seconds, of the fragile server
BUSY = 10  # seconds more, where two such tests share two cores
FIRST_PORT, PORTS_EACH = 20_000, 1_000
SERVERS = {"server", "fragile_server"}
REDIS_NUMBERS = range(2, 16)  # 0 and 1 may be somebody's own
LOG_SHOWN = 8_000  # characters of each process that a failed test shows
_numbers = itertools.count(random.randrange(PORTS_EACH))  # anywhere: another run may be there too


def until(condition: Callable[[], bool], what: str, seconds: float = READY_WITHIN) -> None:
    """Look until `condition` holds. Fails the test with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"Not within {seconds:.0f} s: {what}")
        time.sleep(LOOKS_EVERY)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different, each given once.

    Who asks for them listens seconds later. So they are of this xdist worker alone, and none that the system gives to who asks for any
    (ip_local_port_range).
    """
    first = FIRST_PORT + PORTS_EACH * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    found: list[int] = []
    while len(found) < count:
        port = first + next(_numbers) % PORTS_EACH
        with contextlib.suppress(OSError), socket.socket() as trial:
            trial.bind((HOST, port))
            found.append(port)
    return found


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def group_of(leader: int) -> list[int]:
    """The processes of a group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[2]) == leader:
                found.append(int(stat.parent.name))
    return found


# A flow asks as fast as it can.
UNLIMITED = dict.fromkeys(
    ("MAILBOT_RATE_LIMIT_KEY", "MAILBOT_RATE_LIMIT_ACCOUNT", "MAILBOT_RATE_LIMIT_BAD_KEYS"), "off"
) | {"MAILBOT_LOOP_PAIR_LIMIT": "0"}


class Server:
    """A running mailbot. `smtp` is "host:port"; `api_key` a test key with all rights, of the account "Flows"."""

    def __init__(self, var: Path, environment: dict[str, str], clocks_can_be_set: bool = False) -> None:
        self.var = var
        self.clocks_can_be_set = clocks_can_be_set
        self.port, self.smtp_port = free_ports(2)
        self.url = f"http://{HOST}:{self.port}"
        self.smtp = f"{HOST}:{self.smtp_port}"
        self.environment = child_environment(
            **UNLIMITED | environment,
            DJANGO_SETTINGS_MODULE="mailbot.settings",
            MAILBOT_VAR=str(var),
            MAILBOT_DNS_ZONE_FILE=os.devnull,  # mail of a corpus is signed, and no test asks the DNS of its machine
            MAILBOT_HOST=HOST,
            MAILBOT_PORT=str(self.port),
            MAILBOT_SMTP_PORT=str(self.smtp_port),
            PYTHONFAULTHANDLER="1",  # for `where_it_stands`
        )
        self.commands = procfile_commands(ROOT)
        self.api_key = ""
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._seen: dict[str, int] = {}
        self._changed: set[str] = set()

    # --- What a test may do with it -----------------------------------------------------------------------------------

    def manage(self, *arguments: str, **environment: str) -> str:
        """The output of `manage.py …` with the server's settings. Fails when the command does."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def issue_key(self, account: str = ACCOUNT, mode: str = "test") -> str:
        """The secret of a new key; the account is made when there is none of that name."""
        return self.manage("issue_key", "--account", account, "--create", "--mode", mode)

    def http(self) -> httpx.Client:
        """A client of the API with `api_key`. `verify`, here and elsewhere: nobody speaks TLS, and reading the certificates takes 20 ms."""
        headers = {"Authorization": f"Bearer {self.api_key}"}
        return httpx.Client(base_url=f"{self.url}/v1", headers=headers, timeout=30, verify=False)

    def deliver(self, address: str, mail: str) -> None:
        """Send one mail by SMTP. Raises what smtplib does unless it is accepted."""
        with smtplib.SMTP(HOST, self.smtp_port, timeout=10) as smtp:
            smtp.sendmail("flows@example.com", [address], mail)

    def lets_in(self) -> bool:
        """Whether the SMTP server greets who comes."""
        return smtp_greets(HOST, self.smtp_port)

    @contextlib.contextmanager
    def in_data(self, recipient: str, seconds: float = 30) -> Iterator[smtplib.SMTP]:
        """A client that has been told to send its mail, and waits so long for a reply."""
        with smtplib.SMTP(HOST, self.smtp_port, timeout=seconds) as client:
            client.ehlo()
            client.mail("flows@example.com")
            client.rcpt(recipient)
            assert client.docmd("DATA")[0] == 354
            yield client

    def kill(self, *names: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Send `how` to these processes and all of their children at once, and wait for their end. Names as in the Procfile."""
        processes = [self._running.pop(name) for name in names]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, how)
        for process in processes:
            process.wait(STOPS_WITHIN)

    def kill_everything(self) -> None:
        self.kill(*self._running)

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def is_running(self, name: str) -> bool:
        return name in self._running and self._running[name].poll() is None

    def ended(self) -> dict[str, int]:
        """Name and exit code of each process that has ended by itself."""
        codes = {name: process.poll() for name, process in self._running.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def where_it_stands(self, name: str) -> str:
        """Of a process that does not do what it should: each of its group, the ends of their lines in the log, and what they were at.
        They do not come through it."""
        group = self.pid(name)
        members = [Path(f"/proc/{pid}") for pid in sorted(group_of(group))]
        found = [f"{each.name} {(each / 'wchan').read_text()} {(each / 'cmdline').read_bytes()!r}" for each in members]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGABRT)
        time.sleep(1)  # they write
        return "\n".join(
            [f"{name}: exit code {self._running[name].poll()}", *found, self.log_of(name)[-LOG_SHOWN * 3 :]]
        )

    def start(self, *names: str, **environment: str) -> None:
        """Start processes that do not run, and wait until they do their work. A second worker is "worker:2"."""
        for name in names:
            self.spawn(name, **environment)
        for name in names:
            self._wait_for(name)

    def spawn(self, name: str, **environment: str) -> None:
        """The same for one of which `environment` says that it will not do its work."""
        self._changed = self._changed - {name} | ({name} if environment else set())
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [*leash(), "sh", "-c", self.commands[name.partition(":")[0]]],
                cwd=ROOT,
                env={**self.environment, **self._clock_of(name), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @contextlib.contextmanager
    def held_still(self, name: str) -> Iterator[None]:
        """It does nothing meanwhile, and then goes on: SIGSTOP."""
        os.killpg(self.pid(name), signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.pid(name), signal.SIGCONT)

    def set_clocks(self, seconds: int, *names: str) -> None:
        """Let the clocks of these processes, or of all, be so many seconds ahead. Not of every server."""
        for name in names or self.commands:
            aside = self._clock(name).with_suffix(".new")
            aside.write_text(str(seconds))
            aside.rename(self._clock(name))  # it is never read half-written

    # --- Its life -----------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """With a database that is migrated, and a key."""
        self.api_key = key_of(self.environment["DATABASE_URL"], self.var)
        if not self.api_key:
            self.manage("migrate", "--verbosity", "0")
            self.api_key = self.issue_key()

    def begin(self) -> None:
        self.prepare()
        for name in self.commands:
            self.spawn(name)
        for name in self.commands:
            self._wait_for(name)

    def mend(self) -> None:
        """Bring back what a test has killed."""
        for name in self.commands:
            if not self.is_running(name) or name in self._changed:
                self.kill(*{name} & self._running.keys())
                self.start(name)
        for name in self._running.keys() - self.commands.keys():
            self.kill(name)

    def end(self) -> None:
        """At once: whether it stops cleanly is a test of test_make_run.py, and would take each run five seconds more."""
        self.kill_everything()

    def remember_logs(self) -> None:
        """What is in the logs by now is no news for the test that begins."""
        self._seen = {log.stem: log.stat().st_size for log in self.var.glob("*.log")}

    def news(self) -> Iterator[tuple[str, str]]:
        """Name and new output of each process that has said something since `remember_logs`."""
        for log in sorted(self.var.glob("*.log")):
            text = log.read_bytes()[self._seen.get(log.stem, 0) :].decode(errors="replace").strip()
            if text:
                yield log.stem, text[-LOG_SHOWN:]

    def log_of(self, name: str) -> str:
        """All that a process has written since the server was made."""
        return self._log(name).read_text(encoding="utf-8")

    def _clock(self, name: str) -> Path:
        return self.var / f"{name}.clock"

    def _clock_of(self, name: str) -> dict[str, str]:
        if not self.clocks_can_be_set:
            return {}
        if not self._clock(name).exists():
            self.set_clocks(0, name)
        return {"CLOCK_FILE": str(self._clock(name)), "PYTHONPATH": str(Path(__file__).parent / "wrong_clock")}

    def _log(self, name: str) -> Path:
        return self.var / f"{name}.log"

    def _wait_for(self, name: str) -> None:
        question = {
            "web": lambda: web_answers(HOST, self.port),
            "smtp": self.lets_in,
            "worker": self._mail_is_filed(),
            "worker:2": lambda: len(children(self.pid(name))) > 1,  # what it files, the other one might have filed
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
            with self.http() as http:
                if not inbox:
                    inbox.update(http.post("/inboxes", json={}).json()["data"])
                    try:
                        self.deliver(inbox["address"], "Subject: Are you there?\r\n\r\nYes?\r\n")
                    except (OSError, smtplib.SMTPException):  # the first look-up of a new process may be late
                        inbox.clear()
                        return False
                return bool(http.get(f"/inboxes/{inbox['id']}/messages").json()["data"])

        return question


# --- Fixtures -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def new_database() -> Iterator[dict[str, str]]:
    """DATABASE_URL with a database that is copied for these tests and dropped after them; nothing on SQLite."""
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        yield {"DATABASE_URL": ""}
        return
    with postgres_copy(url, secrets.token_hex(4)) as copy:
        yield {"DATABASE_URL": copy}


@contextlib.contextmanager
def new_redis() -> Iterator[dict[str, str]]:
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


@contextlib.contextmanager
def a_server(var: Path, clocks_can_be_set: bool = False, **environment: str) -> Iterator[Server]:
    """A whole mailbot with a database and a Redis of its own."""
    with new_database() as database, new_redis() as redis_number:
        server = Server(var, {**database, **redis_number, **environment}, clocks_can_be_set)
        try:
            server.begin()
            yield server
        finally:
            server.end()


@pytest.fixture(scope="session")
def own_database() -> Iterator[dict[str, str]]:
    with new_database() as variables:
        yield variables


@pytest.fixture(scope="session")
def own_redis() -> Iterator[dict[str, str]]:
    with new_redis() as variables:
        yield variables


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A whole mailbot, one for each xdist worker, which ends behind the last flow: idle it would take a thirtieth of a core. Tests share
    it: make accounts and inboxes of your own."""
    with a_server(tmp_path_factory.mktemp("var")) as server:
        yield server


@pytest.fixture(scope="package")
def fragile_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Another one, for tests that kill its processes and set their clocks. What a dead worker held is taken over after LEASE seconds."""
    environment = {"MAILBOT_INBOUND_LEASE": str(LEASE), "MAILBOT_INBOUND_RETRY_AFTER": "3,3,3"}
    with a_server(tmp_path_factory.mktemp("fragile"), clocks_can_be_set=True, **environment) as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    """A client of the API of whatever `server` is in the test's module."""
    with server.http() as client:
        yield client


@pytest.fixture
def inbox(http: httpx.Client) -> Any:
    """A new one, as the API shows it."""
    return http.post("/inboxes", json={}).json()["data"]


@pytest.fixture
def nothing_ends(server: Server) -> Iterator[None]:
    """Nobody starts anything of ours again: all of it comes through what the test does to others."""
    yield
    assert server.ended() == {}


@pytest.fixture(autouse=True)
def whole_server(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test has killed is brought back for the next one."""
    servers: list[Server] = [request.getfixturevalue(name) for name in SERVERS & set(request.fixturenames)]
    for server in servers:
        server.remember_logs()
    yield
    for server in servers:
        server.mend()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failed test shows what the processes said meanwhile."""
    report = yield
    for server in getattr(item, "funcargs", {}).values():
        if report.failed and isinstance(server, Server):
            report.sections += [(f"Output of {name}", text) for name, text in server.news()]
    return report
