"""The circuit breaker: what trips it, what that stops, how it closes again."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine

from audit.models import AuditEntry
from delivery.models import OutboundMail, Recipient
from delivery.outbound.outcomes import Report
from delivery.outbound.tracking import apply_reports
from delivery.tasks import look_after_breakers
from inboxes.models import Account, Inbox, Provider, SendingDomain, SendingRecord
from inboxes.sending_record import Tally, add_to_record
from tests.cast import Caller, run_workers
from tests.clocks import without_the_databases
from threads.events import EventType

BOUNCE, COMPLAINT = "bounce@simulator.mailbot.localhost", "complaint@simulator.mailbot.localhost"
MORNING = datetime(2026, 3, 10, 9, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    without_the_databases(monkeypatch)
    settings.BREAKER_SENDS, settings.BREAKER_TRIALS, settings.BREAKER_DOMAIN_SENDS = 10, 4, 20
    with time_machine.travel(MORNING, tick=False) as clock:
        yield clock


def people(number: int) -> list[str]:
    return [f"{n}@example.com" for n in range(number)]


def send(caller: Caller, inbox: Inbox, *to: str) -> None:
    caller.send(inbox, to=list(to))
    run_workers()


def refused(caller: Caller, inbox: Inbox, *to: str) -> dict[str, Any]:
    answer = caller.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": list(to) or "ann@example.com"})
    if answer.status_code == 202:
        return {}
    assert answer.status_code == 422, answer.content
    return dict(answer.json()["error"])


def shown(caller: Caller, inbox: Inbox) -> dict[str, Any]:
    return dict(caller.get(f"/v1/inboxes/{inbox.pk}").json()["data"])


def trip(caller: Caller, inbox: Inbox) -> None:
    send(caller, inbox, *people(9), BOUNCE)
    assert shown(caller, inbox)["status"] == "tripped"


def on_trial(caller: Caller, inbox: Inbox, clock: Any) -> None:
    trip(caller, inbox)
    clock.shift(timedelta(hours=1))
    look_after_breakers()
    assert shown(caller, inbox)["reputation"]["state"] == "on_trial"


class TestTripping:
    def test_it_trips_above_the_share_of_bounces(self, alice: Caller, settings: Any) -> None:
        inbox, settings.BREAKER_BOUNCES = alice.create_inbox(), Decimal(10)
        send(alice, inbox, *people(9), BOUNCE)
        assert shown(alice, inbox)["status"] == "active"  # 10 % are not above 10 %
        send(alice, inbox, BOUNCE)
        found = shown(alice, inbox)
        assert (found["status"], found["status_reason"]) == (
            "tripped",
            "2 of 11 recipients bounced, more than 10 %",
        )
        assert found["reputation"]["trials_at"] == "2026-03-10T10:02:00.000Z"

    def test_it_says_so(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        trip(alice, inbox)
        assert alice.events(inbox_id=inbox.pk)[-1] == "inbox.tripped"
        entry = AuditEntry.objects.get(act="inbox.tripped")
        assert (entry.inbox_id, entry.actor_kind) == (inbox.pk, "system")
        error = refused(alice, inbox)
        assert (error["code"], error["reason"]) == ("blocked", "inbox_tripped")
        assert error["retry_at"] == "2026-03-10T10:02:00.000Z"

    def test_too_few_sends_prove_nothing(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        for _ in range(9):
            send(alice, inbox, BOUNCE)
        assert shown(alice, inbox)["status"] == "active"

    def test_one_complaint_in_few_sends_is_enough_unless_more_are_asked_for(self, alice: Caller, settings: Any) -> None:
        strict, lenient = alice.create_inbox(), alice.create_inbox()
        send(alice, strict, *people(9), COMPLAINT)
        assert "complained, more than 0.1 %" in shown(alice, strict)["status_reason"]
        settings.BREAKER_FEWEST_COMPLAINTS = 2
        send(alice, lenient, *people(9), COMPLAINT)
        assert shown(alice, lenient)["status"] == "active"

    def test_off_is_off(self, alice: Caller, settings: Any) -> None:
        inbox, settings.BREAKER_BOUNCES = alice.create_inbox(), None
        send(alice, inbox, *people(9), BOUNCE)
        assert shown(alice, inbox)["status"] == "active"

    def test_what_is_longer_ago_than_the_window_does_not_count(self, alice: Caller, clock: Any) -> None:
        inbox = alice.create_inbox()
        send(alice, inbox, *people(8), BOUNCE)
        clock.shift(timedelta(hours=25))
        send(alice, inbox, *people(40), BOUNCE)
        assert shown(alice, inbox)["status"] == "active"

    def test_what_is_queued_is_blocked_and_others_go_on(self, alice: Caller) -> None:
        inbox, other = alice.create_inbox(), alice.create_inbox()
        waiting = alice.send(inbox, send_at=(MORNING + timedelta(minutes=1)).isoformat())
        trip(alice, inbox)
        theirs = alice.send(other)
        OutboundMail.objects.update(next_attempt_at=MORNING)
        run_workers()
        found = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{waiting['id']}").json()["data"]
        assert (found["status"], found["recipients"][0]["reason"]) == ("blocked", "inbox_tripped")
        assert alice.get(f"/v1/inboxes/{other.pk}/messages/{theirs['id']}").json()["data"]["status"] == "delivered"

    def test_it_is_no_pause(self, alice: Caller) -> None:
        """A paused inbox is not tried again by the clock, and news of it do not trip it."""
        inbox = alice.create_inbox()
        alice.send(inbox, to=[*people(9), "gone@example.com"])
        run_workers()
        alice.post(f"/v1/inboxes/{inbox.pk}/pause", {"reason": "holidays"})
        apply_reports(OutboundMail.objects.get(), [Report(EventType.MESSAGE_BOUNCED, "gone@example.com")])
        assert shown(alice, inbox)["status"] == "paused"
        look_after_breakers()
        assert refused(alice, inbox)["reason"] == "inbox_paused"


class TestTrial:
    def test_it_lets_a_few_recipients_through(self, alice: Caller, clock: Any) -> None:
        inbox = alice.create_inbox()
        on_trial(alice, inbox, clock)
        assert shown(alice, inbox)["reputation"]["trial_sends_left"] == 4
        assert refused(alice, inbox, *people(5))["reason"] == "inbox_tripped"
        assert not refused(alice, inbox, *people(3))
        assert "1 more" in refused(alice, inbox, *people(2))["message"]
        assert not refused(alice, inbox)
        assert refused(alice, inbox)["reason"] == "inbox_tripped"

    def test_it_closes_when_all_arrived(self, alice: Caller, clock: Any) -> None:
        inbox = alice.create_inbox()
        on_trial(alice, inbox, clock)
        send(alice, inbox, *people(4))
        look_after_breakers()
        assert shown(alice, inbox)["status"] == "active"
        assert alice.events(inbox_id=inbox.pk)[-1] == "inbox.resumed"
        entry = AuditEntry.objects.get(act="inbox.resumed")
        assert (entry.actor_kind, entry.changes["reason"]) == ("system", "the trial sends went well")
        assert not refused(alice, inbox)

    def test_it_trips_again_for_twice_as_long(self, alice: Caller, clock: Any) -> None:
        inbox = alice.create_inbox()
        on_trial(alice, inbox, clock)
        send(alice, inbox, BOUNCE)
        found = shown(alice, inbox)
        assert found["status_reason"] == "1 of 4 recipients bounced, more than 5 %"
        assert found["reputation"]["trials_at"] == "2026-03-10T12:02:00.000Z"
        clock.shift(timedelta(hours=1))
        look_after_breakers()
        assert refused(alice, inbox)["reason"] == "inbox_tripped"
        clock.shift(timedelta(hours=1))
        look_after_breakers()
        assert not refused(alice, inbox)

    def test_bounces_of_mail_from_before_do_not_end_it(self, alice: Caller, clock: Any) -> None:
        inbox = alice.create_inbox()
        send(alice, inbox, "late@example.com")
        on_trial(alice, inbox, clock)
        clock.shift(timedelta(minutes=7))
        late = Recipient.objects.get(address="late@example.com")
        apply_reports(late.mail, [Report(EventType.MESSAGE_BOUNCED, late.address)])
        found = shown(alice, inbox)["reputation"]
        assert (found["state"], found["windows"]["24h"]["bounced"]) == ("on_trial", 2)

    def test_where_nobody_tells_of_deliveries_it_closes_after_some_quiet(self, alice: Caller, clock: Any) -> None:
        live = alice.with_key(mode="live")
        inbox = live.create_inbox()
        send(live, inbox, *people(9), "gone@example.com")
        apply_reports(OutboundMail.objects.get(), [Report(EventType.MESSAGE_BOUNCED, "gone@example.com")])
        clock.shift(timedelta(hours=1))
        look_after_breakers()
        send(live, inbox, *people(4))
        look_after_breakers()
        assert shown(live, inbox)["status"] == "tripped"
        clock.shift(timedelta(minutes=31))
        look_after_breakers()
        assert shown(live, inbox)["status"] == "active"

    def test_places_with_which_nothing_was_sent_are_given_again(self, alice: Caller, clock: Any) -> None:
        inbox = alice.create_inbox()
        on_trial(alice, inbox, clock)
        message = alice.send(inbox, to=people(4))
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/cancel")
        assert answer.status_code == 200, answer.content
        look_after_breakers()
        assert shown(alice, inbox)["reputation"]["trial_sends_left"] == 4


class TestResuming:
    def test_an_operator_says_why_and_its_record_begins_anew(self, alice: Caller, clock: Any) -> None:
        inbox = alice.create_inbox()
        send(alice, inbox, "late@example.com")
        trip(alice, inbox)
        clock.shift(timedelta(minutes=2))
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/resume")
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, ["reason"])
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/resume", {"reason": "The list was cleaned."})
        assert answer.json()["data"]["status"] == "active"
        late = Recipient.objects.get(address="late@example.com")
        apply_reports(late.mail, [Report(EventType.MESSAGE_BOUNCED, late.address)])
        send(alice, inbox, *people(8), BOUNCE)
        assert shown(alice, inbox)["status"] == "active"
        send(alice, inbox, BOUNCE)
        assert shown(alice, inbox)["status_reason"] == "2 of 10 recipients bounced, more than 5 %"
        assert shown(alice, inbox)["reputation"]["trials_at"] == "2026-03-10T10:04:00.000Z"  # as after the first time

    def test_a_pause_in_between_is_no_way_around_the_reason(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        trip(alice, inbox)
        alice.post(f"/v1/inboxes/{inbox.pk}/pause")
        assert alice.post(f"/v1/inboxes/{inbox.pk}/resume").status_code == 400

    def test_pausing_and_resuming_does_not_clean_a_record(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        send(alice, inbox, *people(8), BOUNCE)
        alice.post(f"/v1/inboxes/{inbox.pk}/pause")
        alice.post(f"/v1/inboxes/{inbox.pk}/resume")
        send(alice, inbox, BOUNCE)
        assert shown(alice, inbox)["status"] == "tripped"


def of_domain(caller: Caller, domain: str, number: int) -> list[Inbox]:
    inboxes = [caller.create_inbox() for _ in range(number)]
    Inbox.objects.filter(pk__in=[inbox.pk for inbox in inboxes]).update(domain=domain)
    return list(Inbox.objects.filter(pk__in=[inbox.pk for inbox in inboxes]))


def told(inbox: Inbox, provider: str = "", **numbers: int) -> None:
    """What was counted just now."""
    add_to_record([Tally(inbox.account_id, inbox.pk, provider, MORNING - timedelta(minutes=2), **numbers)])


@pytest.fixture
def live(alice: Caller, settings: Any) -> Caller:
    settings.WARM_UP = []
    return alice.with_key(mode="live")


class TestDomain:
    def test_many_inboxes_that_each_bounce_a_little_trip_it(self, live: Caller, charlie: Caller) -> None:
        one, two, three = of_domain(live, "acme.example", 3)
        (theirs,) = of_domain(charlie.with_key(mode="live"), "acme.example", 1)
        told(one, sent=9, bounced=1)
        told(two, sent=9, bounced=1)
        look_after_breakers()
        assert not SendingDomain.objects.exists()  # 18 sends are too few
        told(three, sent=9)
        look_after_breakers()
        error = refused(live, three)
        assert (error["reason"], "acme.example is tripped: 2 of 27" in error["message"]) == ("domain_tripped", True)
        assert AuditEntry.objects.get(act="domain.tripped").account_id == live.account.pk
        assert not refused(charlie.with_key(mode="live"), theirs)
        assert not refused(live, live.create_inbox())

    def test_one_inbox_alone_does_not(self, live: Caller) -> None:
        one, two = of_domain(live, "acme.example", 2)
        told(one, sent=9, bounced=5)
        told(two, sent=50)
        look_after_breakers()
        assert not SendingDomain.objects.exists()

    def test_what_tripped_inboxes_sent_is_theirs_alone(self, live: Caller) -> None:
        inboxes = of_domain(live, "acme.example", 3)
        for inbox in inboxes[:2]:
            told(inbox, sent=500, bounced=200)
            live.post(f"/v1/inboxes/{inbox.pk}/pause")
        Inbox.objects.filter(pk__in=[inbox.pk for inbox in inboxes[:2]]).update(trials_at=MORNING)
        told(inboxes[2], sent=50)
        look_after_breakers()
        assert not SendingDomain.objects.exists()

    def test_what_is_queued_is_blocked_until_it_is_on_trial_and_closes(self, live: Caller, clock: Any) -> None:
        one, two = of_domain(live, "acme.example", 2)
        waiting = live.send(one)
        for inbox in (one, two):
            told(inbox, sent=10, bounced=1)
        look_after_breakers()
        run_workers()
        assert live.get(f"/v1/inboxes/{one.pk}/messages/{waiting['id']}").json()["data"]["status"] == "blocked"
        clock.shift(timedelta(hours=1))
        look_after_breakers()
        assert refused(live, one, *people(5))["reason"] == "domain_tripped"
        send(live, one, *people(4))
        assert refused(live, two)["reason"] == "domain_tripped"
        clock.shift(timedelta(minutes=31))
        look_after_breakers()
        assert SendingDomain.objects.get().status == "active"
        assert not refused(live, two)

    def test_a_trial_that_bounces_trips_it_again(self, live: Caller, clock: Any) -> None:
        one, two = of_domain(live, "acme.example", 2)
        for inbox in (one, two):
            told(inbox, sent=10, bounced=1)
        look_after_breakers()
        clock.shift(timedelta(hours=1))
        look_after_breakers()
        send(live, one, "ann@example.com")
        apply_reports(OutboundMail.objects.get(), [Report(EventType.MESSAGE_BOUNCED, "ann@example.com")])
        look_after_breakers()
        domain = SendingDomain.objects.get()
        assert (domain.trips, domain.trials_left) == (2, None)

    def test_the_sandbox_trips_none(self, alice: Caller) -> None:
        for inbox in of_domain(alice, "acme.example", 2):
            told(inbox, sent=20, bounced=1)
        look_after_breakers()
        assert not SendingDomain.objects.exists()


class TestProvider:
    def provider(self, account: Account | None) -> Provider:
        return Provider.objects.create(account=account, name="Postmark", esp="postmark", sealed="")

    def trouble(self, caller: Caller, provider: Provider) -> None:
        for number in range(3):
            for inbox in of_domain(caller, f"acme-{number}.example", 1):
                told(inbox, provider.pk, sent=9, bounced=1)
        look_after_breakers()
        provider.refresh_from_db()

    def test_an_accounts_own_is_paused_and_its_mail_waits(self, live: Caller) -> None:
        provider = self.provider(live.account)
        self.trouble(live, provider)
        assert (provider.is_paused, provider.paused_reason) == (
            True,
            "tripped: 3 of 27 recipients bounced, more than 5 %",
        )
        assert AuditEntry.objects.get(act="provider.tripped").account_id == live.account.pk

    def test_of_a_shared_one_the_operators_are_told_once(self, live: Caller) -> None:
        provider = self.provider(None)
        self.trouble(live, provider)
        look_after_breakers()
        assert not provider.is_paused
        assert AuditEntry.objects.get(act="provider.warned_of").object_pk == provider.pk

    def test_one_domain_alone_is_that_domains_affair(self, live: Caller) -> None:
        provider = self.provider(live.account)
        for inbox in of_domain(live, "acme.example", 3):
            told(inbox, provider.pk, sent=9, bounced=1)
        look_after_breakers()
        provider.refresh_from_db()
        assert not provider.is_paused
        assert SendingRecord.objects.count() == 3
