"""Idempotency-Key on every POST, and sends without one that are tried again: docs/api/idempotency.md"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from delivery.api import views as sending
from delivery.models import OutboundMail, RecentSend
from delivery.outbound import recent
from delivery.outbound.queue import queue_mail
from delivery.tasks import forget_sends
from inboxes.api import views as inbox_views
from inboxes.idempotency import KEPT_FOR
from inboxes.keys import revoke_key
from inboxes.models import Inbox, KeptAnswer
from inboxes.tasks import forget_answers
from mailbot.lib.receipts import Outcome, Receipt
from tests.cast import Caller
from tests.mailing import deliver, mail
from threads.models import Message

TO_ANN = {"to": "ann@example.com", "subject": "Invoice", "body_text": "Hi"}


def post(caller: Caller, path: str, body: Any, key: str | None = "k1") -> Any:
    return caller.post(path, body, headers={} if key is None else {"Idempotency-Key": key})


def messages_of(inbox: Inbox) -> str:
    return f"/v1/inboxes/{inbox.pk}/messages"


def is_replay(answer: Any, first: Any) -> bool:
    same = (answer.status_code, answer.json()) == (first.status_code, first.json())
    return same and answer.headers.get("Idempotent-Replayed") == "true"


class TestKey:
    def test_it_answers_a_send_again_with_the_first_answer(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        first, second = (post(alice, messages_of(inbox), TO_ANN) for _ in range(2))
        assert first.status_code == 202
        assert "Idempotent-Replayed" not in first.headers
        assert is_replay(second, first)
        assert Message.objects.count() == OutboundMail.objects.count() == 1
        inbox.refresh_from_db()
        assert inbox.sends_today == 1

    def test_it_answers_the_first_answer_and_not_what_became_of_it(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        first = post(alice, messages_of(inbox), TO_ANN)
        Message.objects.update(status=Message.Status.SENT)
        alice.post(f"/v1/inboxes/{inbox.pk}/pause")
        assert is_replay(post(alice, messages_of(inbox), TO_ANN), first)

    def test_it_does_so_for_whatever_is_posted(self, alice: Caller) -> None:
        first, second = (post(alice, "/v1/inboxes", {"display_name": "Ä"}) for _ in range(2))
        assert first.status_code == 201
        assert is_replay(second, first)
        inbox = Inbox.objects.get()
        first, second = (post(alice, f"/v1/inboxes/{inbox.pk}/pause", {"reason": "x"}, "k2") for _ in range(2))
        assert is_replay(second, first)
        assert alice.events().count("inbox.paused") == 1

    def test_it_does_so_for_replies_and_forwards(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        parent = alice.messages(inbox)[0]["id"]
        for action, body in (("reply", {"body_text": "Yes"}), ("forward", {"to": "ann@example.com"})):
            first, second = (post(alice, f"{messages_of(inbox)}/{parent}/{action}", body, action) for _ in range(2))
            assert first.status_code == 202
            assert is_replay(second, first)
        assert OutboundMail.objects.count() == 2

    def test_it_takes_another_key_for_another_thing(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        answers = [post(alice, messages_of(inbox), TO_ANN, key) for key in ("k1", "k2", "K1", None)]
        assert [answer.status_code for answer in answers] == [202] * 4
        assert len({answer.json()["data"]["id"] for answer in answers}) == 4

    def test_it_reads_the_body_as_json(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        texts = ('{"to":"ann@example.com","subject":"\\u00dc"}', '{ "subject" : "Ü",\n "to" : "ann@example.com" }')
        first, second = (post(alice, messages_of(inbox), text) for text in texts)
        assert is_replay(second, first)

    @pytest.mark.parametrize("change", [{"subject": "Invoice "}, {"to": ["ann@example.com"]}, {"cc": None}])
    def test_it_refuses_the_key_with_another_body(self, alice: Caller, change: dict[str, Any]) -> None:
        inbox = alice.create_inbox()
        post(alice, messages_of(inbox), TO_ANN)
        answer = post(alice, messages_of(inbox), TO_ANN | change)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
        assert "new key" in answer.json()["error"]["fix"]
        assert Message.objects.count() == 1

    def test_it_refuses_the_key_on_another_path(self, alice: Caller) -> None:
        inboxes = [alice.create_inbox() for _ in range(2)]
        assert [post(alice, messages_of(inbox), TO_ANN).status_code for inbox in inboxes] == [202, 409]

    @pytest.mark.parametrize("key", ["", "k" * 256, "kö", "k\x7f", "k\t1"])
    def test_it_refuses_what_is_no_key(self, alice: Caller, key: str) -> None:
        answer = post(alice, "/v1/inboxes", {}, key)
        assert answer.status_code == 400
        assert "Idempotency-Key" in answer.json()["error"]["fields"]
        assert not Inbox.objects.exists()

    def test_it_takes_the_longest_key(self, alice: Caller) -> None:
        assert post(alice, "/v1/inboxes", {}, "~" * 255).status_code == 201

    def test_it_means_nothing_on_other_methods(self, alice: Caller) -> None:
        path = f"/v1/inboxes/{alice.create_inbox().pk}"
        options: dict[str, Any] = {"content_type": "application/json", "headers": {"Idempotency-Key": "k1"}}
        for name in ("one", "two"):
            assert alice.client.patch(path, {"name": name}, **options).json()["data"]["display_name"] == name
        assert not KeptAnswer.objects.exists()

    def test_it_keeps_no_error(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        wrong = post(alice, messages_of(inbox), TO_ANN | {"bodytext": "x"})
        alice.post(f"/v1/inboxes/{inbox.pk}/pause")
        blocked = post(alice, messages_of(inbox), TO_ANN)
        alice.post(f"/v1/inboxes/{inbox.pk}/resume")
        right = post(alice, messages_of(inbox), TO_ANN)
        assert [answer.status_code for answer in (wrong, blocked, right)] == [400, 422, 202]

    def test_it_keeps_nothing_of_what_failed(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        """A fault after the work: neither the inbox nor the answer is there, and the next try makes one."""
        with monkeypatch.context() as patch:
            patch.setattr(inbox_views, "data", fail)
            assert post(alice, "/v1/inboxes", {"username": "a"}).status_code == 500
        assert not Inbox.objects.exists()
        assert post(alice, "/v1/inboxes", {"username": "a"}).status_code == 201

    def test_it_keeps_no_message_without_its_answer(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        inbox = alice.create_inbox()
        with monkeypatch.context() as patch:
            patch.setattr(KeptAnswer.objects, "create", fail)
            assert post(alice, messages_of(inbox), TO_ANN).status_code == 500
        assert not Message.objects.exists()
        assert post(alice, messages_of(inbox), TO_ANN).status_code == 202

    def test_it_keeps_an_answer_for_a_day(self, alice: Caller) -> None:
        first = post(alice, "/v1/inboxes", {})
        with time_machine.travel(timezone.now() + KEPT_FOR - timedelta(minutes=1)):
            forget_answers()
            assert is_replay(post(alice, "/v1/inboxes", {}), first)
        with time_machine.travel(timezone.now() + KEPT_FOR + timedelta(minutes=1)):
            assert post(alice, "/v1/inboxes", {"username": "other"}).status_code == 201

    def test_it_removes_what_is_over(self, alice: Caller) -> None:
        for key in ("k1", "k2"):
            post(alice, "/v1/inboxes", {}, key)
        with time_machine.travel(timezone.now() + KEPT_FOR + timedelta(minutes=1)):
            forget_answers()
        assert not KeptAnswer.objects.exists()

    def test_it_keeps_nothing_of_an_inbox_that_is_purged(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        post(alice, messages_of(inbox), TO_ANN)
        alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true")
        assert not KeptAnswer.objects.exists()
        assert post(alice, messages_of(inbox), TO_ANN).status_code == 422

    def test_it_keeps_no_secret(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbox_views.InboxesView, "shown_once", frozenset({"client_id"}))
        first, second = (post(alice, "/v1/inboxes", {"client_id": "once"}).json()["data"] for _ in range(2))
        assert first["client_id"] == "once"
        assert second == first | {"client_id": None}


class TestWhoseKey:
    def test_it_is_shared_by_keys_that_see_the_same(self, alice: Caller, bob: Caller) -> None:
        inbox = alice.create_inbox()
        first = post(alice, messages_of(inbox), TO_ANN)
        assert is_replay(post(bob, messages_of(inbox), TO_ANN), first)

    def test_it_says_nothing_to_others(self, alice: Caller, charlie: Caller) -> None:
        inbox, other = alice.create_inbox(), alice.create_inbox()
        post(alice, messages_of(inbox), TO_ANN)
        limited, live = alice.with_key(inbox=other), alice.with_key(mode="live")
        for stranger in (charlie, limited, live):
            answer = post(stranger, messages_of(inbox), TO_ANN)
            assert answer.status_code == 404
            assert "Idempotent-Replayed" not in answer.headers
        assert post(limited, messages_of(other), TO_ANN).status_code == 202
        assert post(charlie, "/v1/inboxes", {}).status_code == 201

    def test_it_asks_for_rights_first(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        post(alice, messages_of(inbox), TO_ANN)
        reader = alice.with_key(permissions=["messages:read"])
        assert post(reader, messages_of(inbox), TO_ANN).status_code == 403
        assert post(reader, messages_of(inbox), TO_ANN, "k" * 256).status_code == 403
        revoke_key(alice.key)
        assert post(alice, messages_of(inbox), TO_ANN).status_code == 401


def fail(*arguments: Any, **options: Any) -> Any:
    raise RuntimeError("a fault")


def at_once(number: int, call: Callable[[int], Any]) -> list[Any]:
    """What `call` of 0, 1, … answers, all of them begun at once."""
    together = threading.Barrier(number)

    def run(position: int) -> Any:
        together.wait(10)
        try:
            return call(position)
        finally:
            connection.close()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    @pytest.mark.parametrize("path", ["/messages", ""])
    def test_it_carries_out_one_of_many(self, alice: Caller, path: str) -> None:
        inbox = alice.create_inbox()
        path = f"{messages_of(inbox)}" if path else "/v1/inboxes"
        answers = at_once(6, lambda _: post(alice, path, TO_ANN if "messages" in path else {"username": "ann"}))
        done = [answer for answer in answers if answer.status_code != 409]
        assert len({answer.json()["data"]["id"] for answer in done}) == 1
        assert sum("Idempotent-Replayed" not in answer.headers for answer in done) == 1
        assert {answer.json()["error"]["fix"] for answer in answers if answer not in done} <= {
            "Send it again in a second."
        }
        assert (Message.objects.count(), Inbox.objects.count()) == ((1, 1) if "messages" in path else (0, 2))

    def test_it_refuses_a_key_that_is_at_work(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        inbox = alice.create_inbox()
        begun, go_on = threading.Event(), threading.Event()
        original = queue_mail

        def slow(*arguments: Any) -> Any:
            begun.set()
            assert go_on.wait(10)
            return original(*arguments)

        monkeypatch.setattr(sending, "queue_mail", slow)

        def call(position: int) -> Any:
            if position == 0:
                return post(alice, messages_of(inbox), TO_ANN)
            assert begun.wait(10)
            try:
                return post(alice, messages_of(inbox), TO_ANN)
            finally:
                go_on.set()

        first, second = at_once(2, call)
        assert (first.status_code, second.status_code) == (202, 409)
        assert second.headers["Retry-After"] == "1"
        assert is_replay(post(alice, messages_of(inbox), TO_ANN), first)

    def test_it_sends_all_that_have_no_key_and_are_answered(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        answers = at_once(4, lambda _: post(alice, messages_of(inbox), TO_ANN, key=None))
        assert len({answer.json()["data"]["id"] for answer in answers}) == 4


class TestWithoutKey:
    """A call within the process, as these tests make them, has its answer when it returns; the rest is in tests/flows."""

    def test_it_sends_what_is_meant_twice(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        assert len({alice.send(inbox)["id"] for _ in range(3)}) == 3

    def test_it_sends_once_what_was_answered_with_a_fault(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        inbox = alice.create_inbox()
        monkeypatch.setattr(recent, "KNOWN_WITHIN", timedelta(0))
        with monkeypatch.context() as patch:
            patch.setattr(sending, "represent_message", fail)
            assert post(alice, messages_of(inbox), TO_ANN, key=None).status_code == 500
        again = post(alice, messages_of(inbox), TO_ANN, key=None)
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
        assert again.json()["data"]["id"] == Message.objects.get().pk
        alice.send(inbox, **TO_ANN)  # that answer has arrived
        assert Message.objects.count() == 2

    def test_it_waits_until_it_is_known(self, alice: Caller) -> None:
        """Three seconds after the commit nothing more is expected."""
        inbox = alice.create_inbox()
        first = alice.send(inbox)
        lose(first)
        RecentSend.objects.update(answer=Outcome.PENDING.value)
        again = post(alice, messages_of(inbox), {"to": "customer@example.com"}, key=None)
        assert again.json()["data"]["id"] == first["id"]

    def test_it_tells_apart_who_asks_and_for_what(self, alice: Caller, bob: Caller) -> None:
        inbox, other = alice.create_inbox(), alice.create_inbox()
        first = alice.send(inbox)
        lose(first)
        assert bob.send(inbox)["id"] != first["id"]
        assert alice.send(other)["id"] != first["id"]
        assert alice.send(inbox, body_text="x")["id"] != first["id"]
        assert alice.send(inbox)["id"] == first["id"]

    def test_it_sends_replies_and_forwards_once(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(), inbox)
        parent = alice.messages(inbox)[0]["id"]
        for action, body in (("reply", {"body_text": "Yes"}), ("forward", {"to": "ann@example.com"})):
            path = f"{messages_of(inbox)}/{parent}/{action}"
            first = post(alice, path, body, key=None).json()["data"]
            lose(first)
            assert post(alice, path, body, key=None).json()["data"]["id"] == first["id"]
        assert OutboundMail.objects.count() == 2

    def test_it_is_over_after_a_minute(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        first = alice.send(inbox)
        lose(first, age=timedelta(seconds=61))
        assert alice.send(inbox)["id"] != first["id"]
        forget_sends()
        assert RecentSend.objects.count() == 1

    def test_it_answers_before_it_asks_whether_more_may_be_sent(self, alice: Caller) -> None:
        inbox = alice.create_inbox(daily_send_limit=1)
        first = alice.send(inbox)
        lose(first)
        assert alice.send(inbox)["id"] == first["id"]
        assert post(alice, messages_of(inbox), TO_ANN, key=None).status_code == 422

    def test_it_forgets_what_is_purged(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        alice.send(inbox)
        alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true")
        assert not RecentSend.objects.exists()

    def test_it_gives_way_when_its_client_has_hung_up(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        """The client has given up and tried again, and the second request was quicker."""
        inbox = alice.create_inbox()
        second = alice.send(inbox)
        gone = Receipt()
        gone.settle(Outcome.LOST)
        monkeypatch.setattr(sending, "receipt_of", lambda _: gone)
        assert alice.send(inbox)["id"] == second["id"]

    def test_it_knows_from_the_start_when_its_client_has_hung_up(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        gone = Receipt()
        gone.settle(Outcome.LOST)
        with monkeypatch.context() as patch:
            patch.setattr(sending, "receipt_of", lambda _: gone)
            patch.setattr(recent._notes, "add", lambda *_: None)
            first = alice.send(inbox)
        assert alice.send(inbox)["id"] == first["id"]


@pytest.mark.django_db(transaction=True)
def test_old_news_of_an_answer_is_not_written_behind_its_being_given_again(
    alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = alice.send(alice.create_inbox())["id"]
    is_writing, may_write, is_written = threading.Event(), threading.Event(), threading.Event()
    write_all = recent._notes._write_all

    def write_slowly(outcomes: dict[str, Outcome]) -> None:
        is_writing.set()
        may_write.wait(10)
        write_all(outcomes)
        is_written.set()

    def answer_again() -> None:
        recent.answer_again(sent)
        connection.close()

    monkeypatch.setattr(recent._notes, "_write_all", write_slowly)
    recent._notes.add(sent, Outcome.LOST)
    assert is_writing.wait(10)
    again = threading.Thread(target=answer_again)
    again.start()
    again.join(0.5)
    may_write.set()
    again.join(10)
    assert is_written.wait(10)
    assert RecentSend.objects.get(pk=sent).answer == Outcome.PENDING.value


def lose(message: dict[str, Any], age: timedelta = timedelta(seconds=5)) -> None:
    """As if the answer that told of this message had not arrived."""
    sent = timezone.now() - age
    RecentSend.objects.filter(pk=message["id"]).update(answer=Outcome.LOST.value, created_at=sent, answered_at=sent)


class TestCost:
    @pytest.fixture
    def queries(self, alice: Caller) -> Callable[..., list[str]]:
        inbox = alice.create_inbox()
        alice.get("/v1/inboxes")  # the key is noted as used

        def asked(path: str, body: Any, key: str | None) -> list[str]:
            with CaptureQueriesContext(connection) as context:
                assert post(alice, path.format(inbox.pk), body, key).status_code < 300
            return [query["sql"] for query in context.captured_queries]

        return asked

    def test_it_costs_nothing_without_the_header(self, queries: Callable[..., list[str]]) -> None:
        plain = queries("/v1/inboxes/{}/pause", {}, None)
        assert not [sql for sql in plain if "keptanswer" in sql or "recentsend" in sql or "advisory" in sql]

    def test_it_costs_a_send_two_queries(self, queries: Callable[..., list[str]]) -> None:
        """And one more where the caller is in this process, whose answer has arrived by then."""
        sent = queries("/v1/inboxes/{}/messages", TO_ANN, None)
        assert [sql.split()[0] for sql in sent if "recentsend" in sql] == ["SELECT", "INSERT", "UPDATE"]
        assert not [sql for sql in sent if "keptanswer" in sql or "advisory" in sql]

    def test_it_costs_a_key_two_queries_and_a_lock(self, queries: Callable[..., list[str]]) -> None:
        for path, body in (("/v1/inboxes/{}/resume", {}), ("/v1/inboxes/{}/messages", TO_ANN)):
            sent = queries(path, body, path)
            assert [sql.split()[0] for sql in sent if "keptanswer" in sql] == ["SELECT", "INSERT"]
            assert len([sql for sql in sent if "advisory" in sql]) == (connection.vendor == "postgresql")
