"""Recipients who get no more mail: POST …/messages and what is queued already."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail as outbox
from django.utils import timezone

from delivery.models import OutboundMail, Suppression
from delivery.outbound.send import send_outbound_mail
from delivery.outbound.suppressed import suppressed_in
from inboxes.models import Account, DailyUsage, Inbox
from tests.cast import Caller, run_workers
from threads.models import Event, Message


@pytest.fixture
def live(alice: Caller, settings: Any) -> Caller:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(live: Caller) -> Inbox:
    return live.create_inbox()


def suppress(caller: Caller, address: str, inbox: Inbox | None = None, **body: Any) -> dict[str, Any]:
    answer = caller.post("/v1/suppressions", {"address": address, "inbox_id": inbox.pk if inbox else None, **body})
    assert answer.status_code == 201, answer.content
    return dict(answer.json()["data"])


def call(caller: Caller, inbox: Inbox, **body: Any) -> Any:
    return caller.post(f"/v1/inboxes/{inbox.pk}/messages", {"body_text": "Hello", **body})


def shown(caller: Caller, inbox: Inbox, message_id: str) -> dict[str, Any]:
    return dict(caller.get(f"/v1/inboxes/{inbox.pk}/messages/{message_id}").json()["data"])


def recipients_of(message: dict[str, Any]) -> dict[str, str]:
    return {recipient["address"]: recipient["status"] for recipient in message["recipients"]}


class TestAllSuppressed:
    def test_it_is_refused_and_names_whom_and_why(self, live: Caller, inbox: Inbox) -> None:
        entry = suppress(live, "Ann+news@Shop.example", inbox, reason="She called.")
        answer = call(live, inbox, to="ann@shop.example")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["reason"]) == (422, "blocked", "suppressed")
        assert error["recipients"] == [{
            "address": "ann@shop.example", "suppression_id": entry["id"], "scope": "inbox", "cause": "manual",
            "reason": "She called.", "expires_at": None,
        }]  # fmt: skip
        assert not Message.objects.exists()
        assert live.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["sends_today"] == 0

    def test_it_looks_at_replies_too(self, live: Caller, inbox: Inbox) -> None:
        first = live.send(inbox, to="ann@shop.example")
        suppress(live, "ann@shop.example")
        answer = live.post(f"/v1/inboxes/{inbox.pk}/messages/{first['id']}/reply", {"body_text": "Again"})
        assert answer.json()["error"]["reason"] == "suppressed"

    @pytest.mark.parametrize("scope", ["inbox", "domain", "account"])
    def test_it_is_as_wide_as_its_scope(self, live: Caller, inbox: Inbox, scope: str) -> None:
        body = {"inbox": {"inbox_id": inbox.pk}, "domain": {"domain": inbox.domain.upper()}, "account": {}}[scope]
        assert live.post("/v1/suppressions", {"address": "ann@shop.example", **body}).json()["data"]["scope"] == scope
        assert call(live, inbox, to="ann@shop.example").status_code == 422
        assert call(live, live.create_inbox(), to="ann@shop.example").status_code == (202 if scope == "inbox" else 422)

    def test_others_domains_modes_and_accounts_are_not_concerned(
        self, live: Caller, alice: Caller, charlie: Caller, inbox: Inbox
    ) -> None:
        suppress(live, "ann@shop.example", domain="other.example")
        suppress(alice, "ann@shop.example")
        suppress(charlie.with_key(mode="live"), "ann@shop.example")
        assert call(live, inbox, to="ann@shop.example").status_code == 202

    def test_one_whose_time_is_over_stops_nothing(self, live: Caller, inbox: Inbox) -> None:
        ends_at = timezone.now() + timedelta(minutes=5)
        suppress(live, "ann@shop.example", expires_at=ends_at.isoformat())
        assert call(live, inbox, to="ann@shop.example").status_code == 422
        with time_machine.travel(ends_at + timedelta(seconds=1)):
            assert call(live, inbox, to="ann@shop.example").status_code == 202


class TestSomeSuppressed:
    def test_the_others_get_it(self, live: Caller, inbox: Inbox) -> None:
        suppress(live, "eve@shop.example", inbox)
        message = live.send(inbox, to=["ann@shop.example", "eve@shop.example"], cc="ben@shop.example")
        assert message["status"] == "queued"
        assert recipients_of(message) == {
            "ann@shop.example": "queued",
            "eve@shop.example": "blocked",
            "ben@shop.example": "queued",
        }
        run_workers()
        (sent,) = outbox.outbox
        assert sent.to == ["ann@shop.example", "ben@shop.example"]
        told = shown(live, inbox, message["id"])
        assert told["status"] == "sent"
        assert recipients_of(told)["eve@shop.example"] == "blocked"
        assert told["recipients"][1]["reason"] == "suppressed: manual"

    def test_each_left_out_has_an_event_and_none_of_a_mail_that_was_sent(self, live: Caller, inbox: Inbox) -> None:
        entry = suppress(live, "eve@shop.example", inbox)
        live.send(inbox, to=["ann@shop.example", "eve@shop.example"])
        run_workers()
        events = Event.objects.filter(type__in=["message.blocked", "message.sent"]).values_list("type", "recipient")
        assert set(events) == {("message.blocked", "eve@shop.example"), ("message.sent", "ann@shop.example")}
        assert Event.objects.get(type="message.blocked").data == {
            "reason": "suppressed: manual",
            "suppression_id": entry["id"],
        }

    def test_no_limit_is_charged_for_them(self, live: Caller, inbox: Inbox) -> None:
        suppress(live, "eve@shop.example", inbox)
        live.send(inbox, to=["ann@shop.example", "eve@shop.example"])
        assert live.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["sends_today"] == 1
        assert DailyUsage.objects.get(inbox=inbox).recipients == 1

    def test_who_is_named_in_to_stays_in_the_header(self, live: Caller, inbox: Inbox) -> None:
        suppress(live, "eve@shop.example", inbox)
        message = live.send(inbox, to=["ann@shop.example", "eve@shop.example"])
        raw = live.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content
        assert b"To: ann@shop.example, eve@shop.example" in raw

    def test_an_esp_gets_the_lists_without_him(self, live: Caller, inbox: Inbox, settings: Any) -> None:
        settings.EMAIL_BACKEND = "anymail.backends.test.EmailBackend"
        settings.ANYMAIL = {"TEST_SAMPLE_SETTING": "x"}
        suppress(live, "eve@shop.example", inbox)
        live.send(inbox, to=["eve@shop.example"], cc=["ann@shop.example"])
        run_workers()
        (sent,) = outbox.outbox
        assert (sent.to, sent.cc) == (["ann@shop.example"], [])

    def test_a_scheduled_mail_stays_scheduled(self, live: Caller, inbox: Inbox) -> None:
        suppress(live, "eve@shop.example", inbox)
        message = live.send(inbox, to=["ann@shop.example", "eve@shop.example"], send_at="2099-01-01T00:00:00Z")
        assert message["status"] == "scheduled"
        live.post(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/cancel")
        assert recipients_of(shown(live, inbox, message["id"])) == {
            "ann@shop.example": "cancelled",
            "eve@shop.example": "blocked",
        }


class TestSuppressedSince:
    """Between queueing and handing over."""

    def test_nothing_is_handed_over(self, live: Caller, inbox: Inbox) -> None:
        message = live.send(inbox, to="ann@shop.example")
        suppress(live, "ann@shop.example")
        run_workers()
        assert not outbox.outbox
        assert shown(live, inbox, message["id"])["status"] == "blocked"
        assert OutboundMail.objects.get().error == "suppressed: ann@shop.example"
        assert live.events(message_id=message["id"])[-1] == "message.blocked"

    def test_the_others_get_it(self, live: Caller, inbox: Inbox) -> None:
        message = live.send(inbox, to=["ann@shop.example", "eve@shop.example"])
        suppress(live, "eve@shop.example")
        run_workers()
        (sent,) = outbox.outbox
        assert sent.to == ["ann@shop.example"]
        assert recipients_of(shown(live, inbox, message["id"])) == {
            "ann@shop.example": "sent",
            "eve@shop.example": "blocked",
        }
        assert Event.objects.filter(type="message.sent").values_list("recipient", flat=True).get() == "ann@shop.example"

    def test_one_that_is_sent_by_itself_too(self, live: Caller, inbox: Inbox) -> None:
        live.send(inbox, to=["ann@shop.example", "eve@shop.example"])
        suppress(live, "eve@shop.example")
        send_outbound_mail(OutboundMail.objects.get().pk)
        assert outbox.outbox[0].to == ["ann@shop.example"]

    def test_a_batch_asks_once(self, live: Caller, inbox: Inbox, django_assert_max_num_queries: Any) -> None:
        suppress(live, "eve@shop.example")
        for number in range(5):
            live.send(inbox, to=[f"ann{number}@shop.example", "eve@shop.example", "x@shop.example"])
        mails = list(OutboundMail.objects.select_related("inbox").prefetch_related("recipients"))
        with django_assert_max_num_queries(1):
            assert suppressed_in(mails) == {}  # left out when they were queued
        Suppression.objects.all().delete()
        suppress(live, "x@shop.example")
        with django_assert_max_num_queries(1):
            assert {pk: list(entries) for pk, entries in suppressed_in(mails).items()} == {
                mail.pk: ["x@shop.example"] for mail in mails
            }


class TestReported:
    """By news of mail that was sent."""

    def bounced(self, caller: Caller, inbox: Inbox, address: str) -> None:
        assert call(caller, inbox, to=address).status_code == 202
        run_workers()

    def test_a_hard_bounce_suppresses_for_the_inbox_and_for_a_time(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        self.bounced(alice, inbox, "nobody@mailbot.localhost")
        (entry,) = alice.get("/v1/suppressions").json()["data"]
        assert (entry["scope"], entry["inbox_id"], entry["cause"]) == ("inbox", inbox.pk, "hard_bounce")
        assert (entry["status_code"], entry["mode"]) == ("5.1.1", "test")
        assert entry["message_id"] == Message.objects.get().pk
        stored = Suppression.objects.get()
        assert stored.expires_at is not None
        assert (stored.expires_at - stored.created_at).days == 90
        assert call(alice, inbox, to="nobody@mailbot.localhost").json()["error"]["reason"] == "suppressed"
        assert call(alice, alice.create_inbox(), to="nobody@mailbot.localhost").status_code == 202
        acts = [entry["action"] for entry in alice.get("/v1/audit-log", inbox_id=inbox.pk).json()["data"]]
        assert "suppression.added" in acts

    def test_an_account_may_have_them_stop_all_its_inboxes(self, alice: Caller) -> None:
        Account.objects.filter(pk=alice.account.pk).update(bounce_scope="account")
        self.bounced(alice, alice.create_inbox(), "nobody@mailbot.localhost")
        assert call(alice, alice.create_inbox(), to="nobody@mailbot.localhost").status_code == 422

    @pytest.mark.parametrize("local_part", ["bounce", "complaint", "softbounce"])
    def test_addresses_of_the_simulator_can_be_used_again(self, alice: Caller, local_part: str) -> None:
        inbox = alice.create_inbox()
        for _ in range(2):
            self.bounced(alice, inbox, f"{local_part}@simulator.mailbot.localhost")
        assert not Suppression.objects.exists()
