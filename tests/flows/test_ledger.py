"""The ledger test (`make faults`): mail flows in and out, and whatever carries it is killed, stopped and emptied. Afterwards three ledgers
are compared: of those who send to us, of an agent that sends by the API, and of the ESP that its mail leaves by.

Nothing that was acknowledged is lost, nothing is sent twice, and no more is unknown than was being handed over when somebody died.
"""

import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.fake_esp.credentials import credentials_for
from tests.flows.conftest import ROOT, Server, children, until
from tests.flows.load import Load, load, messages
from tests.flows.private_servers import (
    OutageServer,
    PrivatePostgres,
    PrivateRedis,
    SmallDisk,
    is_production,
    private_postgres,
    private_redis,
    small_disk_if_allowed,
)

KILLS = int(os.environ.get("MAILBOT_KILLS", "30"))
pytestmark = [
    pytest.mark.flows,
    pytest.mark.timeout(3000 if KILLS <= 30 else 3 * 3600),
    # There is more to break there. `make faults` does it on whichever profile.
    pytest.mark.skipif(not is_production and "MAILBOT_KILLS" not in os.environ, reason="production profile only"),
]
LEASE = 8  # seconds, of mail that comes in: who was killed may have read it, so that it is read elsewhere first
SEND_LEASE = 5
PAUSE = 0.2  # seconds between two mails of the agent, and of all senders together: 5 a second each way
SETTLES_WITHIN = 90.0  # seconds from the last kill until everything has ended in some way
FEW = 2  # mails on their way at once: few, so that a fault leaves few unknown
LATENCY = "0.05"  # seconds of the ESP: something is on the wire at most moments
CALLERS = 4  # of the ESP's news at once
UNENDED = ("queued", "sending", "deferred", "sent")
AT_POINTS = ("send.claimed", "send.handed-over", "send.committed", "inbound.claimed", "inbound.filed")


@dataclass
class Everything:
    """What may be broken. Only the production profile has a Redis and a PostgreSQL of its own; `disk` has its database, where a small
    one can be mounted."""

    server: OutageServer
    redis: PrivateRedis | None = None
    postgres: PrivatePostgres | None = None
    disk: SmallDisk | None = None

    def unfinished(self) -> list[tuple[Any, ...]]:
        """Mail that came in and is no message yet; empty without a PostgreSQL."""
        if not self.postgres:
            return []
        asked = "SELECT id, state, attempts, next_attempt_at, lease_until, error, recipients FROM delivery_inboundmail WHERE"
        with psycopg.connect(self.postgres.url) as connection:
            return connection.execute(f"{asked} processed_at IS NULL OR state NOT IN ('processed') LIMIT 20").fetchall()


@pytest.fixture
def everything(tmp_path: Path) -> Iterator[Everything]:
    environment = {
        "MAILBOT_INBOUND_LEASE": str(LEASE),
        "MAILBOT_SEND_LEASE": str(SEND_LEASE),
        "MAILBOT_INBOUND_RETRY_AFTER": "1,2,3,3,3",
        "MAILBOT_FETCH_ALLOW": "127.0.0.0/8",
    }
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(private_redis()) if is_production else None
        postgres = stack.enter_context(private_postgres()) if is_production else None
        disk = stack.enter_context(small_disk_if_allowed(megabytes=256))
        if disk and postgres:
            disk.keep(postgres)
        environment["REDIS_URL"] = redis.url if redis else ""
        environment["DATABASE_URL"] = postgres.url if postgres else ""
        var = disk.folder / "var" if disk and not postgres else tmp_path / "var"
        var.mkdir()
        server = OutageServer(var, environment)
        stack.callback(server.end)
        server.begin()
        yield Everything(server, redis, postgres, disk)


@dataclass
class Esp:
    """The fake ESP's process, and its ledger."""

    ledger: Path
    url: str = ""

    def entries(self) -> list[dict[str, Any]]:
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]


@pytest.fixture
def esp(tmp_path: Path) -> Iterator[Esp]:
    esp = Esp(tmp_path / "esp.jsonl")
    command = [sys.executable, "-m", "tests.fake_esp", "--ledger", str(esp.ledger), "--latency", LATENCY]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        esp.url = process.stdout.readline().strip()
        yield esp
        process.kill()


class News(threading.Thread):
    """Tells what the ESP knows: each delivery twice and late, in whatever order, and again until it is taken."""

    def __init__(self, esp: Esp, url: str) -> None:
        super().__init__(daemon=True)
        self.esp, self.url = esp, url
        self.stop = threading.Event()

    def run(self) -> None:
        seen, left = 0, list[dict[str, Any]]()  # each as often as it is still to be told
        with httpx.Client(timeout=10, verify=False) as self._http, ThreadPoolExecutor(CALLERS) as callers:
            while not self.stop.wait(0.3):
                entries, late = self.esp.entries(), time.time() - 1
                left += [entry for entry in entries[seen:] if entry["taken"] for _ in range(2)]
                seen = len(entries)
                due = [entry for entry in left if entry["at"] < late]
                random.shuffle(due)
                told = callers.map(self._is_told, due)
                left = [entry for entry in left if entry["at"] >= late]
                left += [entry for entry, is_told in zip(due, told, strict=True) if not is_told]

    def _is_told(self, entry: dict[str, Any]) -> bool:
        told = {
            "RecordType": "Delivery",
            "MessageID": entry["id"],
            "Recipient": entry["to"][-1],
            "DeliveredAt": "2026-11-05T16:33:54Z",
            "Details": "250 OK",
            "Metadata": {"mailbot_id": entry["mailbot_id"]},
        }
        try:
            return self._http.post(self.url, json=told).status_code == 200
        except httpx.HTTPError:
            return False


@dataclass
class Agent:
    """What the agent's ledger says."""

    ledger: Path

    def queued(self) -> dict[int, str]:
        """The ids of messages by the number of the mail."""
        lines = (line.split(" ") for line in self.ledger.read_text().splitlines())
        return {int(line[1]): line[2] for line in lines if line[0] == "queued"}


@dataclass
class Breaker:
    """Breaks one thing after the other, and mends it."""

    everything: Everything
    marks: Path
    chance: random.Random
    broke_at: list[float] = field(default_factory=list)
    in_window: int = 0  # kills that may have caught a mail on its way to the ESP

    def ways(self) -> list[Callable[[], None]]:
        ways: list[Callable[[], None]] = [self.pool_child, self.pool_child, self.stop_past_the_lease, self.two_beats]
        ways += [lambda names=names: self.kill(*names) for names in (("worker",), ("web",), ("smtp",))]  # type: ignore[misc]
        ways += [lambda: self.kill("web", "smtp", "worker", "beat")]
        ways += [lambda point=point: self.at(point) for point in AT_POINTS]  # type: ignore[misc]
        if self.everything.redis:
            ways += [self.redis_stops, self.redis_is_flushed]
        if self.everything.postgres:
            ways += [self.postgres_restarts]
        if self.everything.disk:
            ways += [self.disk_is_full]
        return ways

    def kill(self, *names: str) -> None:
        self._notes("worker" in names)
        self.server.kill(*names)
        self._bring_back(*names)

    def pool_child(self) -> None:
        """One that does the work; its parent makes another one."""
        self._notes(True)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.chance.choice(self._workers()), signal.SIGKILL)

    def at(self, point: str) -> None:
        """At a place in the code that was named for it."""
        name = "web" if point == "send.committed" else "worker"
        mark = self.marks / f"{point}-{len(self.broke_at)}"
        self.server.kill(name)
        self.server.spawn(name, MAILBOT_FAILPOINTS=f"{point}=kill-group,once={mark}")
        try:
            until(mark.exists, f"{name} comes to {point}")
        except pytest.fail.Exception as error:
            raise AssertionError(f"{error}. {self.server.where_it_stands(name)}") from error
        self._notes(name == "worker")
        until(lambda: not self.server.is_running(name), f"{name} is dead")
        self._bring_back(name)

    def stop_past_the_lease(self) -> None:
        """Who comes back then must not write what others have decided meanwhile."""
        stopped = self._workers()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        self._notes(True)
        time.sleep(LEASE + 2)
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def two_beats(self) -> None:
        self._notes(False)
        self.server.spawn("beat:2")
        time.sleep(2)
        self.server.kill("beat:2")

    def redis_stops(self) -> None:
        assert self.everything.redis
        self._notes(False)
        self.everything.redis.stop()
        time.sleep(1)
        self.everything.redis.start()

    def redis_is_flushed(self) -> None:
        assert self.everything.redis
        self._notes(False)
        self.everything.redis.flush()

    def postgres_restarts(self) -> None:
        assert self.everything.postgres
        self._notes(True)
        self.everything.postgres.stop()
        self.everything.postgres.start()

    def disk_is_full(self) -> None:
        """What is on its way then may not be written down before its lease is over."""
        assert self.everything.disk
        self._notes(True)
        self.in_window += FEW - 1
        self.everything.disk.fill()
        time.sleep(2)
        self.everything.disk.make_room()

    def _bring_back(self, *names: str) -> None:
        """That it works is seen by the mail that flows on."""
        for name in names:
            self.server.spawn(name)

    @property
    def server(self) -> Server:
        return self.everything.server

    def _workers(self) -> list[int]:
        """The processes of the pool: those that have no children."""
        waiting, found = [self.server.pid("worker")], []
        while waiting:
            pid = waiting.pop()
            below = children(pid)
            waiting += below
            found += [] if below else [pid]
        return found

    def _notes(self, is_in_window: bool) -> None:
        self.broke_at.append(time.time())
        self.in_window += is_in_window


def test_nothing_is_lost_and_nothing_sent_twice(everything: Everything, esp: Esp, tmp_path: Path) -> None:
    seed = int(os.environ.get("MAILBOT_SEED", random.randrange(1_000_000)))
    print(f"MAILBOT_SEED={seed}")
    server = everything.server
    key = server.issue_key("Ledger", mode="live")
    with httpx.Client(
        base_url=f"{server.url}/v1", headers={"Authorization": f"Bearer {key}"}, timeout=30, verify=False
    ) as http:
        inbox, provider = set_up(http, esp)
        news = News(esp, f"{server.url}{urlsplit(provider['webhooks']['tracking']).path}")
        breaker = Breaker(everything, tmp_path, random.Random(seed))
        with (
            load(server, tmp_path / "inbound", pause=PAUSE * 4) as flowing,
            agent(server, key, inbox, tmp_path) as sent,
        ):
            news.start()
            break_things(breaker, flowing, sent, esp)
            flowing.stop()
        wait_until_ended(http, inbox)
        until(lambda: not unknown_though_taken(http, inbox, esp), "news settle what the ESP took", SETTLES_WITHIN)
        news.stop.set()
        try:
            flowing.hold(SETTLES_WITHIN)
        except AssertionError as error:
            raise AssertionError(f"{error}; unfinished: {everything.unfinished()}") from error
        compare(http, inbox, sent, esp, breaker)


def set_up(http: httpx.Client, esp: Esp) -> tuple[Any, Any]:
    inbox = http.post("/inboxes", json={"username": "orders"}).json()["data"]
    credentials = credentials_for("postmark", esp.url)
    body = {"name": "Postmark", "esp": "postmark", "credentials": credentials, "is_default": True, "concurrency": FEW}
    return inbox, http.post("/providers", json=body).json()["data"]


@contextlib.contextmanager
def agent(server: Server, key: str, inbox: Any, folder: Path) -> Iterator[Agent]:
    ledger = folder / "agent"
    ledger.touch()
    command = [sys.executable, "-m", "tests.flows.agent", server.url, key, inbox["id"], str(ledger), str(PAUSE)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as process:
        try:
            yield Agent(ledger)
            assert process.stdin
            process.stdin.close()
            process.wait(60)
        finally:
            process.kill()


def break_things(breaker: Breaker, flowing: Load, sent: Agent, esp: Esp) -> None:
    ways = breaker.ways()
    for number in range(KILLS):
        if number % len(ways) == 0:
            breaker.chance.shuffle(ways)
        goes_on(sent, esp)
        time.sleep(breaker.chance.random() / 2)
        ways[number % len(ways)]()
    goes_on(sent, esp)
    flowing.wait_for_more(5)


def goes_on(sent: Agent, esp: Esp) -> None:
    """Mail is queued again, and leaves again."""
    queued, taken = len(sent.queued()), len(esp.entries())
    until(lambda: len(sent.queued()) > queued + 1, "the agent's mail is taken again")
    until(lambda: len(esp.entries()) > taken, "mail leaves again")


def statuses(http: httpx.Client, inbox: Any) -> dict[str, str]:
    return {message["id"]: message["status"] for message in messages(http, inbox, direction="outbound")}


def unknown_though_taken(http: httpx.Client, inbox: Any, esp: Esp) -> set[str]:
    """Message-IDs: the ESP's news are to settle these."""
    taken = {entry["message_id"] for entry in esp.entries() if entry["taken"]}
    unknown = [one for one in messages(http, inbox, direction="outbound") if one["status"] == "unknown"]
    told = (http.get(f"/inboxes/{inbox['id']}/messages/{one['id']}").json()["data"] for one in unknown)
    return taken & {one["message_id_header"] for one in told}


def wait_until_ended(http: httpx.Client, inbox: Any) -> None:
    """As long as fewer and fewer have not: three hundred faults leave thousands behind."""
    left, until_when = -1, 0.0
    while open_ones := ended_not(http, inbox):
        now = time.monotonic()
        if not 0 <= left <= open_ones.total():
            left, until_when = open_ones.total(), now + SETTLES_WITHIN
        assert now < until_when, f"Nothing more ends, for {SETTLES_WITHIN:.0f} s: {open_ones}"
        time.sleep(0.5)


def ended_not(http: httpx.Client, inbox: Any) -> Counter[str]:
    """Postmark tells each delivery, so that what was taken is settled as delivered."""
    found = Counter(statuses(http, inbox).values())
    return Counter({status: found[status] for status in UNENDED if found[status]})


def compare(http: httpx.Client, inbox: Any, sent: Agent, esp: Esp, breaker: Breaker) -> None:
    queued, found = sent.queued(), statuses(http, inbox)
    taken = Counter(entry["message_id"] for entry in esp.entries() if entry["taken"])
    message_ids = {}
    for message_id in queued.values():
        message = http.get(f"/inboxes/{inbox['id']}/messages/{message_id}").json()["data"]
        message_ids[message_id] = message["message_id_header"]
    unknown = [message for message in queued.values() if found.get(message) == "unknown"]
    lost = [
        message
        for message in queued.values()
        if message not in found or (found[message] == "delivered" and not taken[message_ids[message]])
    ]
    doubled = [message_id for message_id, times in taken.items() if times > 1]
    print(
        f"{KILLS} faults, {len(queued)} mails queued and {sum(taken.values())} taken by the ESP: lost {len(lost)}, doubled"
        f" {len(doubled)}, unknown {len(unknown)} of at most {breaker.in_window};"
        f" until the ESP had the next mail p50 {recovery(esp, breaker, 0.5):.1f} s, p99 {recovery(esp, breaker, 0.99):.1f} s"
    )
    assert (lost, doubled) == ([], [])
    assert len(unknown) <= breaker.in_window
    assert set(found.values()) <= {"delivered", "unknown", "failed"}
    assert set(queued.values()) <= found.keys()
    assert not unknown_though_taken(http, inbox, esp)


def recovery(esp: Esp, breaker: Breaker, part: float) -> float:
    """Seconds from a fault to the next mail that the ESP took."""
    taken = sorted(entry["at"] for entry in esp.entries() if entry["taken"])
    found = sorted(next((at - broke for at in taken if at > broke), 0.0) for broke in breaker.broke_at)
    return statistics.quantiles(found, n=100, method="inclusive")[int(part * 100) - 1] if len(found) > 1 else found[0]
