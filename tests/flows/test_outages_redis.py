"""Redis stopped, flushed, restarted and held still under load: the doorbell is away, and nothing that is promised waits for it."""

import statistics
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.flows.conftest import Server, until
from tests.flows.outage_load import Load, assert_all_there_once, send
from tests.flows.private_servers import OutageServer, PrivateRedis, private_redis, production_only

pytestmark = [
    pytest.mark.flows,
    pytest.mark.timeout(150),
    pytest.mark.usefixtures("nothing_ends"),
    production_only,
]

READY_SAYS_WITHIN = 5.0  # seconds
SOON = 2.0  # seconds: far more than a reply takes, and less than any time-out that one could be waiting for
SWEPT_WITHIN = 20.0  # seconds until worker and beat are back and a sweep, every 5 s, has found what no hint told of
NOTICED_WITHIN = 6.0  # seconds until a process knows that Redis is away or hangs, and its waits look by themselves
FAILED_TRIES = 6  # after so many, Celery by itself would try again in 12 s
RUNG_WITHIN = 10.0  # seconds
TIMES = 3
FILE = "from delivery.inbound.process import process_inbound\nwhile process_inbound(): pass"


@pytest.fixture(scope="module")
def redis_server() -> Iterator[PrivateRedis]:
    with private_redis() as server:
        yield server


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, own_database: dict[str, str], redis_server: PrivateRedis
) -> Iterator[OutageServer]:
    server = OutageServer(tmp_path_factory.mktemp("var"), {**own_database, "REDIS_URL": redis_server.url})
    try:
        server.begin()
        yield server
    finally:
        server.end()


class Wait(threading.Thread):
    """An open wait, and when it was answered."""

    answer: httpx.Response

    def __init__(self, server: Server, inbox: Any, **query: Any) -> None:
        super().__init__(daemon=True)
        self._client = httpx.Client(headers={"Authorization": f"Bearer {server.api_key}"}, timeout=30, verify=False)
        self._url, self._query = f"{server.url}/v1/inboxes/{inbox['id']}/messages/wait", query
        self.start()

    def run(self) -> None:
        with self._client as client:
            self.answer = client.get(self._url, params=self._query)
            self.answered_at = time.time()

    def lateness(self) -> float:
        """Seconds from the filing of the mail to the answer that has it."""
        self.join(30)
        assert self.answer.status_code == 200, self.answer.text
        return self.answered_at - datetime.fromisoformat(self.answer.json()["data"]["created_at"]).timestamp()


@pytest.fixture
def open_wait(server: Server, inbox: Any, redis_server: PrivateRedis) -> Wait:
    """For the mail "nobody is told", of a process that listens to Redis by now."""
    wait = Wait(server, inbox, subject_contains="nobody is told")
    until(lambda: redis_server.listeners() > 0, "the web process listens")
    return wait


class TestAway:
    def test_it_takes_and_files_all_mail_when_redis_stops_is_flushed_and_comes_back(
        self, server: Server, http: httpx.Client, inbox: Any, redis_server: PrivateRedis
    ) -> None:
        with Load(server.smtp, inbox["address"]) as load:
            load.goes_on()
            redis_server.stop()
            meanwhile = load.goes_on()
            redis_server.start()
            load.goes_on()
            redis_server.flush()
            meanwhile += load.goes_on()
        assert set(load.replies()) == {250}
        assert usual(attempt.took for attempt in meanwhile) < SOON
        assert_all_there_once(http, inbox, load, SWEPT_WITHIN)

    def test_it_finds_by_a_sweep_what_no_hint_told_of(
        self, server: OutageServer, http: httpx.Client, inbox: Any, redis_server: PrivateRedis
    ) -> None:
        redis_server.stop()
        try:
            deliver(server, inbox, "nobody rang")
            until(lambda: server.has_said("smtp", "No hint for"), "the hint is lost")
        finally:
            redis_server.start()
        found = f"/inboxes/{inbox['id']}/messages"
        until(lambda: bool(http.get(found).json()["data"]), "the mail is filed", SWEPT_WITHIN)

    def test_it_is_rung_again_as_soon_as_redis_is_back(
        self, server: OutageServer, http: httpx.Client, inbox: Any, redis_server: PrivateRedis
    ) -> None:
        redis_server.stop()
        with server.held_still("beat"):  # no sweep finds it
            try:
                until(
                    lambda: server.has_said("worker", "Cannot connect", times=FAILED_TRIES),
                    "the worker tries to connect",
                )
            finally:
                redis_server.start()
            deliver(server, inbox, "rung for")
            found = f"/inboxes/{inbox['id']}/messages"
            until(lambda: bool(http.get(found).json()["data"]), "the mail is filed", RUNG_WITHIN)

    def test_it_answers_waits_meanwhile(
        self, server: Server, inbox: Any, open_wait: Wait, redis_server: PrivateRedis
    ) -> None:
        redis_server.stop()
        try:
            file_untold(server, inbox)
            assert open_wait.lateness() < NOTICED_WITHIN
        finally:
            redis_server.start()

    def test_it_delays_no_send(self, http: httpx.Client, inbox: Any, redis_server: PrivateRedis) -> None:
        redis_server.stop()
        try:
            assert usual(seconds_to_send(http, inbox) for _ in range(TIMES)) < SOON
        finally:
            redis_server.start()


class TestHangs:
    def test_it_delays_no_250_and_no_send(
        self, server: Server, http: httpx.Client, inbox: Any, redis_server: PrivateRedis
    ) -> None:
        with redis_server.held_still(), Load(server.smtp, inbox["address"]) as load:
            meanwhile = load.goes_on()
            assert usual(seconds_to_send(http, inbox) for _ in range(TIMES)) < SOON
        assert set(load.replies()) == {250}
        assert usual(attempt.took for attempt in meanwhile) < SOON
        assert_all_there_once(http, inbox, load, SWEPT_WITHIN)

    def test_it_answers_waits_meanwhile(
        self, server: Server, inbox: Any, open_wait: Wait, redis_server: PrivateRedis
    ) -> None:
        with redis_server.held_still():
            file_untold(server, inbox)
            assert open_wait.lateness() < NOTICED_WITHIN

    def test_it_ends_waits_in_time(self, http: httpx.Client, inbox: Any, redis_server: PrivateRedis) -> None:
        with redis_server.held_still():
            assert usual(seconds_to_end(http, inbox) for _ in range(TIMES)) < SOON

    def test_it_says_within_seconds_that_it_is_not_ready(self, server: Server, redis_server: PrivateRedis) -> None:
        with redis_server.held_still():
            began = time.monotonic()
            answer = httpx.get(f"{server.url}/readyz", params={"without": "workers"}, timeout=30, verify=False)
            assert time.monotonic() - began < READY_SAYS_WITHIN
            assert (answer.status_code, answer.json()["missing"]) == (503, ["redis"])


def usual(seconds: Iterable[float]) -> float:
    """One may be late because others had the cores; what waits for Redis is late each time."""
    return statistics.median(seconds)


def file_untold(server: Server, inbox: Any) -> None:
    """A mail comes in and is filed by a process whose wake-up Redis does not carry; the workers are not rung for it either."""
    deliver(server, inbox, "nobody is told")
    server.manage("shell", "-c", FILE)


def deliver(server: Server, inbox: Any, subject: str) -> None:
    assert send(server.smtp, inbox["address"], f"Subject: {subject}\r\n\r\nx\r\n".encode()) == 250


def seconds_to_send(http: httpx.Client, inbox: Any) -> float:
    began = time.monotonic()
    answer = http.post(f"/inboxes/{inbox['id']}/messages", json={"to": "someone@example.com", "subject": "out"})
    assert answer.status_code == 202, answer.text
    return time.monotonic() - began


def seconds_to_end(http: httpx.Client, inbox: Any) -> float:
    """Of a short wait that nothing comes for."""
    began = time.monotonic()
    answer = http.get(f"/inboxes/{inbox['id']}/messages/wait", params={"timeout_ms": 500})
    assert answer.status_code == 408
    return time.monotonic() - began
