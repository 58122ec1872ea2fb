"""GET /v1/inboxes/{id}/messages/wait"""

import asyncio
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, transaction
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from audit.models import AuditEntry
from inboxes.keys import revoke_key
from inboxes.models import Inbox
from mailbot.lib.ids import new_id
from tests.cast import Caller
from tests.mailing import deliver, mail
from tests.web import Web, running_web, waiting
from threads import waiting as waiting_module
from threads import wanted as looking
from threads.api import wait as wait_module
from threads.api.serializers import MessageSerializer
from threads.models import Message
from threads.waiting import WaitingRoom


@pytest.fixture
def web(transactional_db: None) -> Iterator[Web]:
    with running_web() as web:
        yield web


@pytest.fixture
def nothing_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks without a wake-up, so that a test sees whether each was heeded."""
    monkeypatch.setattr(waiting_module, "LOOKS_ANYWAY_EVERY", 1000.0)


@pytest.fixture
def seats(monkeypatch: pytest.MonkeyPatch) -> "Seats":
    return Seats(monkeypatch)


class Seats:
    """Tells when a wait has looked and sleeps, so that a test need not guess."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asleep = threading.Semaphore(0)
        original = looking.first_match

        def first_match(*arguments: Any) -> Any:
            found = original(*arguments)
            if found is None:
                self.asleep.release()
            return found

        monkeypatch.setattr(wait_module, "first_match", first_match)

    def wait_for(self, number: int) -> None:
        for _ in range(number):
            assert self.asleep.acquire(timeout=10)


class SilentChannel:
    def publish(self, inbox_ids: Iterable[str]) -> None:
        """Nobody hears of it."""

    async def listen(self, wake: Any) -> None:
        await asyncio.Event().wait()


class TestWait:
    def test_it_answers_with_the_mail_that_arrives(
        self, web: Web, nothing_lost: None, seats: Seats, alice: Caller
    ) -> None:
        inbox = alice.create_inbox()
        with waiting(web, alice, inbox.pk, subject_contains="verify") as wait:
            seats.wait_for(1)
            deliver(mail(Subject="Newsletter"), inbox)
            deliver(mail(Subject="Verify your account", body="Code: 482913"), inbox)
        assert wait.answer.status_code == 200
        message = wait.answer.json()["data"]
        assert (message["subject"], message["codes"]) == ("Verify your account", ["482913"])
        assert message["created_at"].endswith("Z")
        entry = AuditEntry.objects.get(act="wait.answered")
        assert (entry.object_pk, entry.inbox_id, entry.actor_id) == (message["id"], inbox.pk, alice.key.pk)
        assert entry.cid == wait.answer.headers["X-Request-Id"]

    def test_it_answers_at_once_with_what_came_just_before(self, web: Web, alice: Caller) -> None:
        inbox = alice.create_inbox()
        for subject in ("first", "second"):
            deliver(mail(Subject=subject), inbox)
        with waiting(web, alice, inbox.pk) as wait:
            pass
        assert wait.answer.json()["data"]["subject"] == "first"
        assert AuditEntry.objects.get(act="wait.answered").actor_id == alice.key.pk

    def test_it_misses_nothing_between_the_look_and_the_sleep(
        self, web: Web, nothing_lost: None, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        looks: list[Any] = []
        original = looking.first_match

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

    def test_it_is_woken_by_the_commit_and_not_before(
        self, web: Web, nothing_lost: None, seats: Seats, alice: Caller
    ) -> None:
        """Who is told too early looks, finds nothing and is not told again."""
        inbox = alice.create_inbox()
        with waiting(web, alice, inbox.pk, timeout_ms=10_000) as wait:
            seats.wait_for(1)
            with transaction.atomic():
                deliver(mail(), inbox)
                wait.join(0.3)
                assert wait.is_alive()
        assert wait.answer.status_code == 200

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
        of_others = set(threading.enumerate())
        waits = [wait_over_a_plain_socket(web, alice, inbox.pk) for _ in range(100)]
        seats.wait_for(100)
        names = [thread.name for thread in threading.enumerate() if thread not in of_others]
        assert sum(name.startswith("wait-") for name in names) <= wait_module.ADMITTERS + 1
        assert len(names) < 30
        deliver(mail(), inbox)
        for connection in waits:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            connection.close()

    def test_it_looks_once_for_all_who_wait_for_a_mail(
        self, web: Web, seats: Seats, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        written: list[str] = []
        original = MessageSerializer.to_representation

        def represented(serializer: MessageSerializer, message: Message) -> Any:
            written.append(message.pk)
            return original(serializer, message)

        monkeypatch.setattr(MessageSerializer, "to_representation", represented)
        waits = [wait_over_a_plain_socket(web, alice, inbox.pk) for _ in range(30)]
        seats.wait_for(30)
        deliver(mail(), inbox)
        for connection in waits:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            connection.close()
        assert len(written) <= 3  # who has looked but does not sleep yet is answered by the next look

    def test_it_needs_no_wake_up_to_find_a_mail(
        self, web: Web, seats: Seats, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever stored it may be killed before it tells anybody."""
        monkeypatch.setattr(waiting_module, "channel", SilentChannel)
        inbox = alice.create_inbox()
        with waiting(web, alice, inbox.pk, timeout_ms=20_000) as wait:
            seats.wait_for(1)
            deliver(mail(), inbox)
        assert wait.answer.status_code == 200

    def test_it_goes_on_when_the_database_was_away(
        self, web: Web, nothing_lost: None, seats: Seats, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        failures = [OperationalError("the database system is starting up")] * 4

        def new_matches(wishes: Any) -> Any:
            if failures:
                raise failures.pop()
            return looking.new_matches(wishes)

        monkeypatch.setattr(wait_module, "new_matches", new_matches)
        with waiting(web, alice, inbox.pk, timeout_ms=20_000) as wait:
            seats.wait_for(1)
            deliver(mail(), inbox)
        assert wait.answer.status_code == 200
        assert not failures

    def test_it_says_when_looking_fails(
        self, web: Web, seats: Seats, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def new_matches(wishes: Any) -> Any:
            raise RuntimeError("a mistake of ours")

        monkeypatch.setattr(wait_module, "new_matches", new_matches)
        with waiting(web, alice, alice.create_inbox().pk, timeout_ms=20_000) as wait:
            seats.wait_for(1)
        assert wait.answer.status_code == 500

    def test_it_frees_the_place_when_the_client_goes(
        self, web: Web, seats: Seats, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rooms: list[WaitingRoom[Any, Any]] = []
        original = WaitingRoom.__init__

        def remembered(room: Any, look: Any) -> None:
            rooms.append(room)
            original(room, look)

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

    def test_it_is_401_when_it_is_taken_up_again_with_a_key_that_was_revoked_meanwhile(
        self, web: Web, alice: Caller, bob: Caller, seats: Seats
    ) -> None:
        """One that is open keeps its place, for 25 seconds at most; docs/api/keys.md says so."""
        inbox = alice.create_inbox()
        with waiting(web, bob, inbox.pk) as wait:
            seats.wait_for(1)
            revoke_key(bob.key)
            deliver(mail(Subject="hello"), inbox)
        assert wait.answer.status_code == 200
        with waiting(web, bob, inbox.pk) as again:
            pass
        assert again.answer.status_code == 401

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
        inbox = Inbox.objects.get(pk=inbox.pk)
        query = {"direction": "inbound", "has_code": None, "subject_contains": "third"}
        with CaptureQueriesContext(database) as looks:
            assert looking.first_match(looking.wanted(inbox, query), inbox) is None
        assert not any("body_text" in look["sql"] for look in looks)
        found = looking.first_match(looking.wanted(inbox, {**query, "subject_contains": "second"}), inbox)
        assert found is not None
        assert found.body_text == "many megabytes\n"

    def test_it_looks_for_many_inboxes_at_once(self, alice: Caller) -> None:
        inboxes = [alice.create_inbox() for _ in range(30)]
        query = {"direction": "inbound", "has_code": None}
        wishes = [looking.wanted(inbox, query) for inbox in inboxes]
        deliver(mail(Subject="the only one"), inboxes[7])
        with CaptureQueriesContext(database) as looks:
            found = looking.new_matches(wishes)
        assert {wish.inbox_id: message.subject for wish, message in found.items()} == {inboxes[7].pk: "the only one"}
        assert len(looks) <= 3

    def test_it_gives_each_the_first_that_it_wants(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        query = {"direction": "inbound", "has_code": None}
        first, code, none = (
            looking.wanted(inbox, {**query, **more}) for more in ({}, {"has_code": True}, {"subject_contains": "never"})
        )
        deliver(mail(Subject="plain", body="hello"), inbox)
        deliver(mail(Subject="code", body="Your code is 482913"), inbox)
        deliver(mail(Subject="code again", body="Your code is 111222"), inbox)
        found = looking.new_matches([first, code, none])
        assert {wish: message.subject for wish, message in found.items()} == {first: "plain", code: "code"}
        newest = alice.messages(inbox)[0]
        assert (none.seen, none.after) == (3, newest["id"])

    def test_it_finds_nothing_behind_a_message_of_another_inbox(self, alice: Caller) -> None:
        inbox, other = alice.create_inbox(), alice.create_inbox()
        deliver(mail(), other)
        elsewhere = alice.messages(other)[0]["id"]
        wish = looking.wanted(inbox, {"direction": "inbound", "has_code": None, "after": elsewhere})
        deliver(mail(), inbox)
        assert looking.first_match(wish, Inbox.objects.get(pk=inbox.pk)) is None
        assert looking.new_matches([wish]) == {}
