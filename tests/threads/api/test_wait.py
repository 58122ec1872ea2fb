"""GET /v1/inboxes/{id}/messages/wait"""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from mailbot.lib.ids import new_id
from tests.cast import Caller
from tests.mailing import deliver, mail
from tests.web import Web, running_web, waiting
from threads.api import wait as wait_module
from threads.waiting import WaitingRoom


@pytest.fixture
def web(transactional_db: None) -> Iterator[Web]:
    with running_web() as web:
        yield web


@pytest.fixture
def seats(monkeypatch: pytest.MonkeyPatch) -> "Seats":
    return Seats(monkeypatch)


class Seats:
    """Tells when a wait has looked and sleeps, so that a test need not guess."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: WaitingRoom | None = None
        self.asleep = threading.Semaphore(0)
        original = wait_module.first_match

        def first_match(*arguments: Any) -> Any:
            found = original(*arguments)
            if found is None:
                self.asleep.release()
            return found

        monkeypatch.setattr(wait_module, "first_match", first_match)

    def wait_for(self, number: int) -> None:
        for _ in range(number):
            assert self.asleep.acquire(timeout=10)


class TestWait:
    def test_it_answers_with_the_mail_that_arrives(self, web: Web, seats: Seats, alice: Caller) -> None:
        inbox = alice.create_inbox()
        with waiting(web, alice, inbox.pk, subject_contains="verify") as wait:
            seats.wait_for(1)
            deliver(mail(Subject="Newsletter"), inbox)
            deliver(mail(Subject="Verify your account", body="Code: 482913"), inbox)
        assert wait.answer.status_code == 200
        message = wait.answer.json()["data"]
        assert (message["subject"], message["codes"]) == ("Verify your account", ["482913"])
        assert message["created_at"].endswith("Z")
        assert wait.answer.headers["X-Request-Id"]

    def test_it_answers_at_once_with_what_came_just_before(self, web: Web, alice: Caller) -> None:
        inbox = alice.create_inbox()
        for subject in ("first", "second"):
            deliver(mail(Subject=subject), inbox)
        with waiting(web, alice, inbox.pk) as wait:
            pass
        assert wait.answer.json()["data"]["subject"] == "first"

    def test_it_misses_nothing_between_the_look_and_the_sleep(
        self, web: Web, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        looks: list[Any] = []
        original = wait_module.first_match

        def first_match(*arguments: Any) -> Any:
            found = original(*arguments)
            if not looks:
                looks.append(found)
                deliver(mail(Subject="in between"), inbox)
            return found

        monkeypatch.setattr(wait_module, "first_match", first_match)
        with waiting(web, alice, inbox.pk, timeout_ms=10_000) as wait:
            pass
        assert looks == [None]
        assert wait.answer.json()["data"]["subject"] == "in between"

    def test_it_says_when_nothing_came_and_where_to_go_on(self, web: Web, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Subject="old"), inbox)
        with waiting(web, alice, inbox.pk, subject_contains="new", timeout_ms=50, poll_interval_ms=500) as wait:
            pass
        assert wait.answer.status_code == 408
        assert wait.answer.json()["error"]["code"] == "wait_timeout"
        deliver(mail(Subject="new"), inbox)
        with waiting(web, alice, inbox.pk, after=wait.answer.json()["meta"]["after"]) as again:
            pass
        assert again.answer.json()["data"]["subject"] == "new"

    def test_it_looks_only_behind_after(self, web: Web, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Subject="seen"), inbox)
        seen = alice.messages(inbox)[0]
        for after in (seen["id"], "2099-01-01T00:00:00Z"):
            with waiting(web, alice, inbox.pk, after=after, timeout_ms=0) as wait:
                pass
            assert wait.answer.status_code == 408

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"from_address": "bank@"}, "code"),
            ({"has_code": "true"}, "code"),
            ({"has_link_host": "example.org"}, "link"),
            ({"has_link_host": "ample.org"}, None),
            ({"direction": "outbound"}, "sent"),
            ({"subject_contains": ""}, "code"),
        ],
    )
    def test_it_filters(self, web: Web, alice: Caller, query: dict[str, str], found: str | None) -> None:
        inbox = alice.create_inbox()
        deliver(mail(Subject="code", From="bank@example.com", body="Your code is 482913"), inbox)
        deliver(mail(Subject="link", body="https://www.example.org/x"), inbox)
        alice.send(inbox, subject="sent")
        with waiting(web, alice, inbox.pk, timeout_ms=0, **query) as wait:
            pass
        assert wait.answer.json().get("data", {}).get("subject") == found

    def test_it_wakes_only_who_waits_for_that_inbox(self, web: Web, seats: Seats, alice: Caller) -> None:
        inbox, other = alice.create_inbox(), alice.create_inbox()
        with waiting(web, alice, other.pk, timeout_ms=700) as bystander:
            with waiting(web, alice, inbox.pk) as wait:
                seats.wait_for(2)
                deliver(mail(), inbox)
            assert wait.answer.status_code == 200
        assert bystander.answer.status_code == 408

    def test_it_serves_many_waits_without_a_thread_for_each(self, web: Web, seats: Seats, alice: Caller) -> None:
        inbox = alice.create_inbox()
        waits = [wait_over_a_plain_socket(web, alice, inbox.pk) for _ in range(100)]
        seats.wait_for(100)
        names = [thread.name for thread in threading.enumerate()]
        assert sum(name.startswith("wait-look") for name in names) <= wait_module.LOOKERS
        assert len(names) < 30
        deliver(mail(), inbox)
        for connection in waits:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            connection.close()

    def test_it_frees_the_place_when_the_client_goes(
        self, web: Web, seats: Seats, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rooms: list[WaitingRoom] = []
        original = WaitingRoom.__init__

        def remembered(room: WaitingRoom) -> None:
            rooms.append(room)
            original(room)

        monkeypatch.setattr(WaitingRoom, "__init__", remembered)
        connection = wait_over_a_plain_socket(web, alice, alice.create_inbox().pk)
        seats.wait_for(1)
        assert len(rooms[0]) == 1
        connection.close()
        deadline = time.monotonic() + 5
        while len(rooms[0]) and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert len(rooms[0]) == 0

    def test_it_says_that_the_server_stops(self, web: Web, seats: Seats, alice: Caller) -> None:
        inbox = alice.create_inbox()
        with waiting(web, alice, inbox.pk) as wait:
            seats.wait_for(1)
            web.server.should_exit = True
        assert wait.answer.status_code == 503
        assert wait.answer.json()["error"]["code"] == "unavailable"
        assert wait.answer.headers["Retry-After"] == "1"

    @pytest.mark.parametrize("query", [{"after": "soon"}, {"timeout_ms": "-1"}, {"timeout": "5"}, {"direction": "up"}])
    def test_it_says_what_is_wrong_with_a_query(self, web: Web, alice: Caller, query: dict[str, str]) -> None:
        with waiting(web, alice, alice.create_inbox().pk, **query) as wait:
            pass
        assert wait.answer.status_code == 400
        assert wait.answer.json()["error"]["fields"]

    def test_it_is_404_for_a_stranger_as_for_an_id_that_never_was(
        self, web: Web, alice: Caller, charlie: Caller
    ) -> None:
        for inbox_id in (alice.create_inbox().pk, new_id("inbox"), "%00"):
            with waiting(web, charlie, inbox_id) as wait:
                pass
            assert wait.answer.status_code == 404
            assert wait.answer.json()["error"]["code"] == "not_found"

    def test_it_is_401_without_a_key_and_403_without_the_right(self, web: Web, alice: Caller) -> None:
        inbox = alice.create_inbox()
        lacking = alice.with_key(permissions=["inboxes:read"])
        with waiting(web, lacking, inbox.pk) as wait:
            pass
        assert wait.answer.status_code == 403
        lacking.secret = "mb_test_none"
        with waiting(web, lacking, inbox.pk) as wait:
            pass
        assert wait.answer.status_code == 401


def wait_over_a_plain_socket(web: Web, caller: Caller, inbox_id: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", web.port), timeout=30)
    head = f"GET /v1/inboxes/{inbox_id}/messages/wait HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {caller.secret}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


class TestLooking:
    def test_it_reads_no_body_but_of_the_mail_that_it_answers(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        for subject in ("first", "second"):
            deliver(mail(Subject=subject, body="many megabytes"), inbox)
        query = {"direction": "inbound", "has_code": None, "subject_contains": "third"}
        with CaptureQueriesContext(database) as looks:
            assert wait_module.first_match(inbox, query, wait_module.Position(None)) is None
        assert not any("body_text" in look["sql"] for look in looks)
        found = wait_module.first_match(inbox, {**query, "subject_contains": "second"}, wait_module.Position(None))
        assert found is not None
        assert found.body_text == "many megabytes\n"
