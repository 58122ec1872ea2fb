"""Mail of which nobody knows whether its provider took it, and who settles that"""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from audit.actors import acting_as_system
from audit.models import AuditEntry
from delivery.hooks.news import process_provider_events
from delivery.models import OutboundMail, ProviderEvent, SendAttempt
from delivery.outbound import send
from delivery.outbound.send import send_due_mail
from delivery.outbound.sending import Handed
from delivery.outbound.states import State
from delivery.outbound.unknown import LOOKS_AFTER, OPEN_QUESTIONS, settle_by_news, settle_unknown
from delivery.slow_work import work_through
from inboxes.models import Account, Inbox, OnUnknown, Provider
from tests.cast import Caller, run_workers
from tests.fake_esp.credentials import credentials_for
from tests.fake_esp.server import FakeEsp, fake_esp


@pytest.fixture
def esp(settings: Any) -> Iterator[FakeEsp]:
    settings.FETCH_ALLOW = ["127.0.0.0/8"]
    with fake_esp() as esp:
        yield esp


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(live: Caller) -> Inbox:
    return live.create_inbox()


def send_by(
    key: str,
    live: Caller,
    inbox: Inbox,
    esp: FakeEsp,
    subject: str = "[cut]",
    to: Any = "ann@example.com",
    **others: Any,
) -> dict[str, Any]:
    body = {"name": key, "esp": key, "credentials": credentials_for(key, esp.url), "is_default": True, **others}
    assert live.post("/v1/providers", body).status_code == 201
    sent = live.send(inbox, to=to, subject=subject)
    with acting_as_system("worker"):
        send_due_mail()
    return sent


def look(after: timedelta = timedelta(0)) -> None:
    """As the sweep does, `after` it became unknown."""
    with acting_as_system("worker"):
        SendAttempt.objects.filter(outcome="unknown").update(finished_at=timezone.now() - after)
        OutboundMail.objects.filter(state=State.UNKNOWN).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        work_through(OPEN_QUESTIONS)
        send_due_mail()


def make_due(**columns: Any) -> None:
    Provider.objects.update(waits_until=None)
    OutboundMail.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1), **columns)


def now() -> OutboundMail:
    return OutboundMail.objects.get()


class TestTrail:
    def test_it_says_that_nobody_knows_and_who_found_out(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        sent = send_by("postmark", live, inbox, esp)
        entry = AuditEntry.objects.get(act="message.unknown")
        assert (entry.object_pk, entry.inbox_id, entry.account_id) == (sent["id"], inbox.pk, live.account.pk)
        assert (entry.actor_kind, entry.actor_id, entry.actor_name) == ("system", "worker", "worker")
        assert (entry.changes["recipients"], entry.changes["subject"]) == (["ann@example.com"], "[cut]")


class TestKey:
    @pytest.mark.parametrize("key", ["resend", "brevo"])
    def test_an_esp_that_knows_our_key_gets_it_again_and_takes_it_once(
        self, live: Caller, inbox: Inbox, esp: FakeEsp, key: str
    ) -> None:
        sent = send_by(key, live, inbox, esp)
        assert now().state == State.UNKNOWN
        look()
        assert (now().state, len(esp.ledger), len(esp.taken)) == (State.SENT, 2, 1)
        assert now().provider_message_id == esp.taken[0]["id"]
        assert live.events(message_id=sent["id"]) == [
            *("message.queued", "message.unknown", "message.queued", "message.sent"),
        ]

    def test_a_mail_that_it_did_not_take_is_taken_then(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        send_by("resend", live, inbox, esp, "[lost]")
        look()
        assert (now().state, len(esp.taken)) == (State.SENT, 1)

    def test_not_once_the_esp_has_forgotten_the_key(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        send_by("brevo", live, inbox, esp)
        SendAttempt.objects.update(started_at=timezone.now() - timedelta(minutes=26))
        look()
        assert (now().state, len(esp.ledger)) == (State.UNKNOWN, 1)

    @pytest.mark.parametrize("key", ["brevo", "resend"])
    def test_nor_when_it_waited_so_long_for_another_try(
        self, live: Caller, inbox: Inbox, esp: FakeEsp, key: str
    ) -> None:
        sent = send_by(key, live, inbox, esp, "[cut, 429]")
        look()
        assert (now().state, len(esp.ledger)) == (State.QUEUED, 2)
        assert now().again_before is not None
        make_due(again_before=timezone.now())
        run_workers()
        assert (now().state, len(esp.ledger)) == (State.UNKNOWN, 2)
        with acting_as_system("operator"):
            assert settle_unknown(now(), State.QUEUED, "I know that it has not.")
        run_workers()
        assert (now().state, len(esp.ledger)) == (State.SENT, 3)
        assert live.events(message_id=sent["id"])[-2:] == ["message.queued", "message.sent"]

    def test_nor_by_another_provider_once_that_one_is_deleted(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        send_by("resend", live, inbox, esp, "[cut, 429=60]")
        look()
        assert now().state == State.QUEUED
        first = Provider.objects.get()
        assert live.delete(f"/v1/providers/{first.pk}").status_code in (200, 204)
        body = {"name": "Other", "esp": "sendgrid", "credentials": credentials_for("sendgrid", esp.url)}
        assert live.post("/v1/providers", {**body, "is_default": True}).status_code == 201
        make_due()
        run_workers()
        assert (now().state, [entry["esp"] for entry in esp.ledger]) == (State.UNKNOWN, ["resend", "resend"])

    def test_a_refusal_later_does_not_say_what_became_of_the_first_try(
        self, live: Caller, inbox: Inbox, esp: FakeEsp
    ) -> None:
        send_by("resend", live, inbox, esp, "[cut, 400]")
        look()
        assert (now().state, [entry["step"] for entry in esp.ledger]) == (State.UNKNOWN, ["cut", "400"])

    def test_no_other_provider_gets_it_meanwhile(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        body = {"name": "Other", "esp": "sendgrid", "credentials": credentials_for("sendgrid", esp.url)}
        stand_in = live.post("/v1/providers", body).json()["data"]["id"]
        send_by("resend", live, inbox, esp, "[cut, 429]", fallback_id=stand_in)
        look()
        Provider.objects.update(is_default=False)  # somebody chose another one
        Provider.objects.filter(pk=stand_in).update(is_default=True)
        make_due()
        run_workers()
        assert [entry["esp"] for entry in esp.ledger] == ["resend", "resend", "resend"]


class TestRecords:
    def test_postmark_is_asked_by_our_own_id(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        send_by("postmark", live, inbox, esp)
        esp.gives["/messages/outbound"] = json.dumps({"Messages": [{"MessageID": "the-id"}]}).encode()
        look()
        assert (now().state, now().provider_message_id, len(esp.ledger)) == (State.SENT, "the-id", 1)

    @pytest.mark.parametrize("answer", [b'{"Messages": []}', b'{"Messages": ["?"]}', b"[]", b"<html>", None])
    def test_that_it_finds_nothing_proves_nothing(
        self, live: Caller, inbox: Inbox, esp: FakeEsp, answer: bytes | None
    ) -> None:
        send_by("postmark", live, inbox, esp)
        if answer is not None:
            esp.gives["/messages/outbound"] = answer
        look()
        mail = now()
        assert (mail.state, mail.lease_token) == (State.UNKNOWN, "")
        assert mail.next_attempt_at - timezone.now() <= LOOKS_AFTER[1]
        look(timedelta(days=2))
        assert now().next_attempt_at - timezone.now() > timedelta(days=6)

    def test_what_no_database_takes_stops_nobody(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        send_by("postmark", live, inbox, esp)
        esp.gives["/messages/outbound"] = b'{"Messages": [{"MessageID": "the-\\u0000id"}]}'
        look()
        assert (now().state, now().provider_message_id) == (State.SENT, "the-\ufffdid")

    def test_credentials_that_cannot_be_read_stop_nobody(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        Account.objects.update(on_unknown=OnUnknown.AT_LEAST_ONCE)
        send_by("postmark", live, inbox, esp)
        Provider.objects.update(sealed="gone")
        look()
        assert (now().state, now().lease_token) == (State.UNKNOWN, "")


class TestNewsWhileItIsHandedOver:
    """The usual case: an ESP tells that it has delivered while we still wait for its answer, which never comes."""

    def test_they_settle_it_once_it_is_unknown(
        self, live: Caller, inbox: Inbox, esp: FakeEsp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Account.objects.update(on_unknown=OnUnknown.AT_LEAST_ONCE)
        whole = send._settle_handed

        def settle(handed: Handed) -> None:
            row = Provider.objects.get()
            told = {"told_mail_id": handed.mail.pk, "type": "delivered", "recipient": "ann@example.com"}
            ProviderEvent.objects.create(provider=row, kind=ProviderEvent.Kind.TRACKING, key="0" * 64, **told)
            assert now().state == State.SENDING
            process_provider_events()
            whole(handed)

        monkeypatch.setattr(send, "_settle_handed", settle)
        sent = send_by("postmark", live, inbox, esp)
        monkeypatch.undo()
        ProviderEvent.objects.update(next_attempt_at=timezone.now())
        with acting_as_system("worker"):
            process_provider_events()
        look(timedelta(minutes=16))
        assert (now().state, len(esp.taken)) == (State.SENT, 1)
        assert live.events(message_id=sent["id"])[-1] == "message.delivered"


class TestRefusal:
    @pytest.mark.parametrize(("refused", "state"), [(("ann",), State.UNKNOWN), (("ann", "bob"), State.FAILED)])
    def test_an_esp_that_had_it_and_refuses_all_of_it_settles_it(
        self, live: Caller, inbox: Inbox, esp: FakeEsp, refused: tuple[str, ...], state: State
    ) -> None:
        send_by("postmark", live, inbox, esp, to=["ann@example.com", "bob@example.com"])
        row = Provider.objects.get()
        for name in refused:
            told = {"told_mail_id": now().pk, "type": "rejected", "recipient": f"{name}@example.com"}
            ProviderEvent.objects.create(provider=row, kind=ProviderEvent.Kind.TRACKING, key=name.ljust(64), **told)
        with acting_as_system("worker"):
            process_provider_events()
        assert now().state == state


class TestChoiceOfTheAccount:
    def test_at_most_once_waits_for_an_operator(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        send_by("postmark", live, inbox, esp)
        look(timedelta(days=1))
        assert (now().state, len(esp.ledger)) == (State.UNKNOWN, 1)

    def test_at_least_once_sends_the_same_mail_again(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        Account.objects.update(on_unknown=OnUnknown.AT_LEAST_ONCE)
        sent = send_by("postmark", live, inbox, esp)
        look(timedelta(minutes=14))
        assert now().state == State.UNKNOWN  # news may still come
        look(timedelta(minutes=16))
        assert (now().state, len(esp.taken)) == (State.SENT, 2)
        assert {entry["message_id"] for entry in esp.taken} == {sent["message_id_header"]}
        entry = live.get("/v1/audit-log", action="message.settled").json()["data"][0]
        assert "at least once" in entry["changes"]["reason"]

    def test_news_that_come_before_the_next_try_stop_it(self, live: Caller, inbox: Inbox, esp: FakeEsp) -> None:
        Account.objects.update(on_unknown=OnUnknown.AT_LEAST_ONCE)
        send_by("postmark", live, inbox, esp, "[cut, 429=600]")
        look(timedelta(minutes=16))
        assert now().state == State.QUEUED
        with acting_as_system("worker"):
            settle_by_news(now(), "the-id", "Postmark says: delivered.")
        with time_machine.travel(timezone.now() + timedelta(hours=1)):
            run_workers()
        assert (now().state, len(esp.taken)) == (State.SENT, 1)
