"""The way out: at most once, whatever the provider says and whoever dies."""

import smtplib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as outbox
from django.core.mail.backends.base import BaseEmailBackend
from django.utils import timezone

from audit.actors import acting_as_system
from delivery.models import OutboundMail, Recipient, SendAttempt
from delivery.outbound.claiming import SEND_LEASE
from delivery.outbound.send import (
    RETRY_AFTER,
    give_up_stranded,
    send_due_mail,
    send_outbound_mail,
)
from delivery.outbound.states import FINAL, MOVES, State
from delivery.outbound.unknown import settle_unknown
from inboxes.models import Inbox
from tests.cast import Caller, run_workers
from threads.models import Message


class ScriptedBackend(BaseEmailBackend):
    """Does what `script` says, one step a mail."""

    script: list[Any] = []
    handed_over: list[str] = []

    def send_messages(self, email_messages: Sequence[Any]) -> int:
        step = self.script.pop(0)
        type(self).handed_over += [message.recipients()[0] for message in email_messages]
        if callable(step):
            step()
        elif step:
            raise step
        return len(email_messages)


@pytest.fixture
def provider(settings: Any, monkeypatch: pytest.MonkeyPatch) -> type[ScriptedBackend]:
    settings.EMAIL_BACKEND = f"{__name__}.ScriptedBackend"
    monkeypatch.setattr(ScriptedBackend, "script", [])
    monkeypatch.setattr(ScriptedBackend, "handed_over", [])
    return ScriptedBackend


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(live: Caller) -> Inbox:
    return live.create_inbox()


def status(caller: Caller, inbox: Inbox, message: dict[str, Any]) -> str:
    return str(caller.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}").json()["data"]["status"])


class TestOutcomes:
    @pytest.mark.parametrize(
        ("step", "state", "shown"),
        [
            (None, "sent", "sent"),
            (smtplib.SMTPRecipientsRefused({"a@x.com": (550, b"no such user")}), "failed", "failed"),
            (smtplib.SMTPRecipientsRefused({"a@x.com": (452, b"full")}), "queued", "deferred"),
            (smtplib.SMTPDataError(451, b"later"), "queued", "deferred"),
            (smtplib.SMTPDataError(554, b"spam"), "failed", "failed"),
            (TimeoutError("no answer"), "unknown", "unknown"),
            (smtplib.SMTPServerDisconnected("cut"), "unknown", "unknown"),
            (ValueError("a bug of ours"), "failed", "failed"),
        ],
        ids=str,
    )
    def test_it_reads_what_the_provider_says(
        self, live: Caller, inbox: Inbox, provider: type[ScriptedBackend], step: Any, state: str, shown: str
    ) -> None:
        message = live.send(inbox)
        provider.script = [step]
        run_workers()
        assert OutboundMail.objects.get().state == state
        assert status(live, inbox, message) == shown
        assert SendAttempt.objects.count() == 1
        assert f"message.{shown}" in live.events(inbox_id=inbox.pk)

    @pytest.mark.parametrize(
        ("refusal", "words"),
        [
            (smtplib.SMTPRecipientsRefused({"a@x.com": (550, b"5.1.1 No such\nuser")}), "550 5.1.1 No such user"),
            (smtplib.SMTPDataError(554, b"5.7.1 Spam"), "554 5.7.1 Spam"),
            (smtplib.SMTPSenderRefused(553, b"5.1.8 Who?", "a@x.com"), "553 5.1.8 Who?"),
        ],
        ids=str,
    )
    def test_a_refusal_of_a_smart_host_is_told_in_its_words(
        self, live: Caller, inbox: Inbox, provider: type[ScriptedBackend], refusal: Exception, words: str
    ) -> None:
        message = live.send(inbox)
        provider.script = [refusal]
        run_workers()
        told = live.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}").json()["data"]["recipients"]
        assert [recipient["reason"] for recipient in told] == [words]

    def test_it_tries_again_later_what_was_refused_for_now(
        self, live: Caller, inbox: Inbox, provider: type[ScriptedBackend]
    ) -> None:
        message = live.send(inbox)
        provider.script = [smtplib.SMTPDataError(451, b"later"), None]
        run_workers()
        assert len(provider.handed_over) == 1
        OutboundMail.objects.update(next_attempt_at=timezone.now())
        run_workers()
        assert status(live, inbox, message) == "sent"
        assert list(SendAttempt.objects.values_list("number", "outcome")) == [(1, "temporary"), (2, "sent")]

    def test_it_gives_up_after_the_last_retry(
        self, live: Caller, inbox: Inbox, provider: type[ScriptedBackend]
    ) -> None:
        message = live.send(inbox)
        provider.script = [smtplib.SMTPDataError(451, b"later")] * (len(RETRY_AFTER) + 1)
        for _ in range(len(RETRY_AFTER) + 1):
            OutboundMail.objects.update(next_attempt_at=timezone.now())
            run_workers()
        assert status(live, inbox, message) == "failed"
        assert provider.script == []

    def test_it_hands_over_the_very_bytes_that_were_fixed(self, live: Caller, inbox: Inbox, settings: Any) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        message = live.send(inbox, bcc="hidden@example.com", subject="ü")
        run_workers()
        (handed,) = outbox.outbox
        raw = live.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content
        assert handed.message().as_bytes() == raw
        assert handed.recipients() == ["customer@example.com", "hidden@example.com"]
        assert b"hidden" not in raw


class TestAtMostOnce:
    def test_it_is_sent_by_one_of_two_workers(
        self, live: Caller, inbox: Inbox, provider: type[ScriptedBackend]
    ) -> None:
        live.send(inbox)
        mail = OutboundMail.objects.get()
        provider.script = [lambda: send_outbound_mail(mail.pk), None]
        send_outbound_mail(mail.pk)
        send_outbound_mail(mail.pk)
        assert len(provider.handed_over) == 1

    def test_it_is_unknown_and_not_sent_again_when_the_worker_died(
        self, live: Caller, inbox: Inbox, provider: type[ScriptedBackend]
    ) -> None:
        message = live.send(inbox)
        OutboundMail.objects.update(
            state=State.SENDING, lease_token="dead", lease_until=timezone.now() - timedelta(seconds=1)
        )
        assert give_up_stranded() == 1
        assert send_due_mail() == 0
        assert status(live, inbox, message) == "unknown"
        assert provider.handed_over == []

    def test_it_leaves_a_mail_alone_whose_lease_runs(self, live: Caller, inbox: Inbox) -> None:
        live.send(inbox)
        OutboundMail.objects.update(state=State.SENDING, lease_token="alive", lease_until=timezone.now() + SEND_LEASE)
        assert (give_up_stranded(), send_due_mail()) == (0, 0)

    def test_it_fences_off_a_worker_that_slept_past_its_lease(
        self, live: Caller, inbox: Inbox, provider: type[ScriptedBackend]
    ) -> None:
        message = live.send(inbox)

        def sleep_past_the_lease() -> None:
            OutboundMail.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            give_up_stranded()

        provider.script = [sleep_past_the_lease]
        run_workers()
        assert status(live, inbox, message) == "unknown"
        assert "message.sent" not in live.events(inbox_id=inbox.pk)

    @pytest.mark.parametrize(("decision", "shown"), [(State.SENT, "sent"), (State.FAILED, "failed")])
    def test_it_is_settled_by_an_operator(
        self, live: Caller, inbox: Inbox, provider: type[ScriptedBackend], decision: State, shown: str
    ) -> None:
        message = live.send(inbox)
        provider.script = [TimeoutError()]
        run_workers()
        with acting_as_system("operator"):
            assert settle_unknown(OutboundMail.objects.get(), decision, "asked the provider")
            assert not settle_unknown(OutboundMail.objects.get(), decision, "twice")
        assert status(live, inbox, message) == shown

    def test_it_goes_again_with_the_same_id_when_an_operator_says_so(
        self, live: Caller, inbox: Inbox, provider: type[ScriptedBackend]
    ) -> None:
        message = live.send(inbox)
        provider.script = [TimeoutError(), None]
        run_workers()
        settle_unknown(OutboundMail.objects.get(), State.QUEUED, "the provider has nothing")
        run_workers()
        assert status(live, inbox, message) == "sent"
        assert len(provider.handed_over) == 2


class TestGates:
    def test_it_does_not_send_from_an_inbox_that_was_paused_meanwhile(
        self, live: Caller, inbox: Inbox, provider: type[ScriptedBackend]
    ) -> None:
        message = live.send(inbox)
        live.post(f"/v1/inboxes/{inbox.pk}/pause", {"reason": "stop"})
        run_workers()
        assert status(live, inbox, message) == "blocked"
        assert provider.handed_over == []

    def test_it_waits_until_the_time_that_was_asked_for(
        self, live: Caller, inbox: Inbox, provider: type[ScriptedBackend]
    ) -> None:
        message = live.send(inbox, send_at=(timezone.now() + timedelta(hours=1)).isoformat())
        assert message["status"] == "scheduled"
        run_workers()
        assert provider.handed_over == []
        OutboundMail.objects.update(next_attempt_at=timezone.now())
        provider.script = [None]
        run_workers()
        assert status(live, inbox, message) == "sent"

    def test_a_mail_that_is_for_nobody_any_more_holds_up_no_other(
        self, live: Caller, inbox: Inbox, provider: type[ScriptedBackend]
    ) -> None:
        nobodys, other = live.send(inbox), live.send(inbox, subject="Another one")
        Recipient.objects.filter(mail__message_id=nobodys["id"]).update(status=Message.Status.BLOCKED)
        provider.script = [None, None]
        run_workers()
        assert status(live, inbox, other) == "sent"
        assert not OutboundMail.objects.filter(state=State.SENDING).exists()


def test_it_writes_every_state_down_once() -> None:
    assert set(MOVES) | FINAL == set(State)
    assert not set(MOVES) & FINAL
