"""POST /v1/inboxes/{inbox_id}/messages/{message_id}/cancel"""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from audit.actors import acting_as_system
from delivery.models import OutboundMail, SendAttempt
from delivery.outbound import cancelling, fetching
from delivery.outbound.compose import compose
from delivery.outbound.states import State
from delivery.outbound.tracking import apply_reports
from delivery.slow_work import work_through
from inboxes.models import Inbox
from tests.cast import Caller, run_workers
from tests.file_server import file_server
from tests.mailing import deliver, mail
from tests.waiting import until_somebody_waits


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox(username="billing")


def later() -> str:
    return (timezone.now() + timedelta(days=1)).isoformat()


def cancel(who: Caller, inbox: Inbox, message: dict[str, Any], **body: Any) -> Any:
    return who.post(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/cancel", body)


class TestCancelling:
    def test_what_waits_for_its_time_is_not_sent(self, alice: Caller, inbox: Inbox) -> None:
        sent = alice.send(inbox, send_at=later())
        answer = cancel(alice, inbox, sent, reason="The customer has answered.")
        assert (answer.status_code, answer.json()["data"]["status"]) == (200, "cancelled")
        assert answer.json()["data"]["recipients"][0]["reason"] == "The customer has answered."
        OutboundMail.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        run_workers()
        assert alice.events(message_id=sent["id"]) == ["message.queued", "message.cancelled"]
        entry = alice.get("/v1/audit-log", action="message.cancelled").json()["data"][0]
        assert entry["actor"]["name"] == alice.name

    def test_it_is_safe_to_repeat(self, alice: Caller, inbox: Inbox) -> None:
        sent = alice.send(inbox, send_at=later())
        assert [cancel(alice, inbox, sent).status_code for _ in range(2)] == [200, 200]
        assert alice.events(message_id=sent["id"]).count("message.cancelled") == 1

    def test_what_is_being_prepared_is_not_sent(self, alice: Caller, inbox: Inbox, settings: Any) -> None:
        settings.FETCH_ALLOW = ["127.0.0.1"]
        with file_server() as server:
            sent = alice.send(inbox, attachments=[{"filename": "a", "url": server.gives("/a", b"a")}])
            assert cancel(alice, inbox, sent).json()["data"]["status"] == "cancelled"
            run_workers()
        assert (server.asked, OutboundMail.objects.get().state) == ([], State.CANCELLED)


class TestTooLate:
    def test_what_has_left_is_a_409(self, alice: Caller, inbox: Inbox) -> None:
        sent = alice.send(inbox)
        run_workers()
        answer = cancel(alice, inbox, sent)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
        assert "sent" in answer.json()["error"]["message"]

    def test_what_is_on_its_way_is_a_409(self, alice: Caller, inbox: Inbox) -> None:
        sent = alice.send(inbox)
        OutboundMail.objects.update(state=State.SENDING)
        assert "right now" in cancel(alice, inbox, sent).json()["error"]["message"]

    def test_what_a_provider_may_have_is_a_409(self, alice: Caller, inbox: Inbox) -> None:
        sent = alice.send(inbox)
        queued = OutboundMail.objects.get()
        SendAttempt.objects.create(
            account=alice.account, mail=queued, number=1, provider="x", outcome="unknown", started_at=timezone.now()
        )
        answer = cancel(alice, inbox, sent)
        assert (answer.status_code, OutboundMail.objects.get().state) == (409, State.QUEUED)

    def test_what_came_in_is_a_409(self, alice: Caller, inbox: Inbox) -> None:
        deliver(mail(), inbox)
        answer = cancel(alice, inbox, alice.messages(inbox)[0])
        assert (answer.status_code, "came in" in answer.json()["error"]["message"]) == (409, True)


class TestWho:
    def test_a_team_mate_may(self, alice: Caller, bob: Caller, inbox: Inbox) -> None:
        assert cancel(bob, inbox, alice.send(inbox, send_at=later())).status_code == 200

    def test_a_stranger_finds_nothing(self, alice: Caller, charlie: Caller, inbox: Inbox) -> None:
        assert cancel(charlie, inbox, alice.send(inbox, send_at=later())).status_code == 404

    def test_a_key_that_may_not_send_may_not_cancel(self, alice: Caller, inbox: Inbox) -> None:
        reader = alice.with_key(permissions=["messages:read"])
        assert cancel(reader, inbox, alice.send(inbox, send_at=later())).status_code == 403


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_who_cancels_and_who_has_fetched_do_not_wait_for_each_other(
    alice: Caller, inbox: Inbox, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail's row is cancelled, and its inbox is locked next, when the worker comes with the attachments."""
    settings.FETCH_ALLOW = ["127.0.0.0/8"]
    whole, begun, answers = apply_reports, threading.Event(), list[int]()

    def apply_slowly(*arguments: Any) -> None:
        begun.set()
        until_somebody_waits()
        whole(*arguments)

    def cancel_slowly() -> None:
        try:
            answers.append(cancel(alice, inbox, sent).status_code)
        finally:
            connections.close_all()

    def compose_late(*arguments: Any) -> Any:
        canceller.start()
        assert begun.wait(30)
        return compose(*arguments)

    monkeypatch.setattr(cancelling, "apply_reports", apply_slowly)
    monkeypatch.setattr(fetching, "compose", compose_late)
    canceller = threading.Thread(target=cancel_slowly)
    with file_server() as server, acting_as_system("worker"):
        sent = alice.send(inbox, attachments=[{"filename": "a.txt", "url": server.gives("/a", b"a")}])
        work_through(fetching.ATTACHMENTS)
    canceller.join()
    mail = OutboundMail.objects.get()
    assert (answers, mail.state) == ([200], State.CANCELLED)
