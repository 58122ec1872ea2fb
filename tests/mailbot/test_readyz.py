"""GET /readyz: what is there, what is missing, and how long it takes to say so."""

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from delivery.heartbeat import LATE_AFTER
from delivery.models import Heartbeat
from delivery.tasks import beat_heart
from mailbot.health import ANSWERS_WITHIN
from mailbot.lib.clock import database_now
from mailbot.lib.scope import OWNER, acting_within
from tests.stores import Store

pytestmark = pytest.mark.django_db(transaction=True)
is_postgresql = connection.vendor == "postgresql"
IN_THE_DATABASE = {"database", "migrations", "workers"} | ({"walls"} if is_postgresql else set())
ANSWERED_WITHIN = ANSWERS_WITHIN + 10.0  # seconds, with both cores busy; what hangs does so for longer


@pytest.fixture(autouse=True)
def each_asks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailbot.lib.questions.GOOD_FOR", 0.0)


@pytest.fixture
def beating() -> None:
    beat_heart()


@pytest.fixture
def silence() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def readyz(**query: str) -> tuple[int, dict[str, Any]]:
    answer = Client().get("/readyz", query)
    return answer.status_code, answer.json()


@pytest.mark.usefixtures("beating")
class TestAll:
    def test_it_is_200_when_all_is_there(self, settings: Any) -> None:
        status, told = readyz()
        assert (status, told["status"], told["missing"]) == (200, "ready", [])
        assert told["parts"].keys() == IN_THE_DATABASE | ({"redis"} if settings.REDIS_URL else set())
        assert {part["status"] for part in told["parts"].values()} == {"ok"}

    def test_a_probe_needs_no_host_name_and_no_key(self) -> None:
        answer = Client().get("/readyz", headers={"Host": "10.0.0.5"})
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"

    def test_it_knows_what_can_be_left_out(self) -> None:
        status, told = readyz(without="workers,nonsense")
        assert (status, told["unknown"]) == (400, ["nonsense"])


class TestDatabase:
    def test_it_says_that_it_cannot_be_reached(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: Any) -> None:
            raise OSError("connection to 10.0.0.7 refused, password hunter2")

        monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.ensure_connection", refuse)
        status, told = readyz()
        assert status == 503
        assert told["parts"]["database"] == {"status": "missing", "reason": "It cannot be reached."}
        assert told["parts"]["migrations"]["reason"] == "Not known without the database."
        assert "hunter2" not in str(told)

    def test_it_does_not_wait_for_one_that_hangs_however_many_ask(self, monkeypatch: pytest.MonkeyPatch) -> None:
        free, asked = threading.Event(), []

        def hang(self: Any) -> None:
            asked.append(threading.current_thread())
            free.wait(30)

        monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.ensure_connection", hang)
        try:
            for _ in range(2):
                began = time.monotonic()
                status, told = readyz()
                assert time.monotonic() - began < ANSWERED_WITHIN
                assert (status, told["parts"]["database"]["reason"]) == (503, "No answer within 3 s.")
            assert len(asked) == 1
        finally:
            free.set()
            asked[0].join(10)

    @pytest.mark.usefixtures("beating")
    def test_it_counts_the_migrations_that_are_not_applied(self) -> None:
        with acting_within(OWNER):
            recorder = MigrationRecorder(connection)
            recorder.record_unapplied("delivery", "0009_request_ids")
            try:
                status, told = readyz()
            finally:
                recorder.record_applied("delivery", "0009_request_ids")
        assert (status, told["missing"]) == (503, ["migrations"])
        assert told["parts"]["migrations"]["reason"] == "1 not applied: run `manage.py migrate`."

    @pytest.mark.usefixtures("beating")
    @pytest.mark.skipif(not is_postgresql, reason="SQLite has no row-level security")
    def test_it_sees_a_wall_that_is_down(self) -> None:
        with acting_within(OWNER), connection.cursor() as cursor:
            cursor.execute("ALTER TABLE threads_message NO FORCE ROW LEVEL SECURITY")
            try:
                status, told = readyz()
            finally:
                cursor.execute("ALTER TABLE threads_message FORCE ROW LEVEL SECURITY")
        assert (status, told["missing"]) == (503, ["walls"])
        assert "check_isolation" in told["parts"]["walls"]["reason"]


class TestWorkers:
    def test_it_misses_workers_that_never_were(self) -> None:
        status, told = readyz()
        assert (status, told["missing"]) == (503, ["workers"])

    def test_it_misses_workers_that_are_gone(self, beating: None) -> None:
        Heartbeat.objects.update(beaten_at=database_now() - LATE_AFTER)
        status, told = readyz()
        assert (status, told["missing"]) == (503, ["workers"])
        assert "for 120 s" in told["parts"]["workers"]["reason"]

    def test_who_asks_for_this_process_alone_leaves_them_out(self) -> None:
        status, told = readyz(without="workers")
        assert (status, told["status"]) == (200, "ready")
        assert "workers" not in told["parts"]


@pytest.mark.usefixtures("beating")
class TestRedis:
    def test_it_says_that_it_cannot_be_reached(self, settings: Any) -> None:
        settings.REDIS_URL = "redis://:hunter2@127.0.0.1:1/0"
        status, told = readyz()
        assert (status, told["missing"]) == (503, ["redis"])
        assert "hunter2" not in str(told)

    def test_it_does_not_wait_for_one_that_hangs(self, settings: Any, silence: int) -> None:
        settings.REDIS_URL = f"redis://127.0.0.1:{silence}/0"
        began = time.monotonic()
        status, told = readyz()
        assert time.monotonic() - began < ANSWERED_WITHIN
        assert (status, told["missing"]) == (503, ["redis"])


@pytest.mark.usefixtures("beating")
class TestStore:
    def test_it_is_asked_where_one_is_configured(self, settings: Any, store: Store) -> None:
        settings.S3_BUCKET = secrets.token_hex(4)
        assert readyz()[0] == 200
        store.faults.is_down = True
        status, told = readyz()
        assert (status, told["missing"]) == (503, ["store"])
        assert readyz(without="store")[0] == 200
