"""A new domain sends a little more each day; what is over waits for its day."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail as outbox
from django.db import connections

from delivery.models import OutboundMail
from delivery.outbound.send import send_outbound_mail
from delivery.outbound.warm_up import end_warm_up
from inboxes.models import Inbox, SendingDomain, WarmUpDay
from tests.cast import Caller, run_workers
from tests.clocks import without_the_databases

MORNING = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
TUESDAY, WEDNESDAY, THURSDAY = (date(2026, 3, day) for day in (10, 11, 12))


@pytest.fixture(autouse=True)
def clock(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    without_the_databases(monkeypatch)
    settings.WARM_UP = [3, 6]
    with time_machine.travel(MORNING, tick=False) as clock:
        yield clock


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


def of_new_domain(caller: Caller) -> Inbox:
    inbox = caller.create_inbox()
    Inbox.objects.filter(pk=inbox.pk).update(domain="acme.example")
    return Inbox.objects.get(pk=inbox.pk)


def taken() -> dict[date, int]:
    return dict(WarmUpDay.objects.values_list("day", "taken"))


class TestDays:
    def test_what_is_over_waits_for_the_next_days(self, live: Caller, clock: Any) -> None:
        inbox = of_new_domain(live)
        for number in range(10):
            live.send(inbox, to=f"{number}@example.com")
        run_workers()
        assert (len(outbox.outbox), taken()) == (3, {TUESDAY: 3, WEDNESDAY: 6})
        last = OutboundMail.objects.order_by("next_attempt_at").last()
        assert last is not None
        assert last.next_attempt_at.date() == THURSDAY  # behind the last day of the table there is no limit
        clock.move_to(datetime(2026, 3, 11, 23, 59, tzinfo=UTC))
        run_workers()
        assert len(outbox.outbox) == 9
        clock.shift(timedelta(minutes=2))
        run_workers()
        assert len(outbox.outbox) == 10

    def test_who_waits_is_told_why_and_spread_over_the_day(self, live: Caller) -> None:
        inbox = of_new_domain(live)
        ids = [live.send(inbox, to=f"{number}@example.com")["id"] for number in range(5)]
        run_workers()
        waiting = live.get(f"/v1/inboxes/{inbox.pk}/messages/{ids[-1]}").json()["data"]
        assert waiting["status"] == "deferred"
        assert waiting["recipients"][0]["reason"].startswith("warm_up: acme.example is new")
        assert live.events(message_id=ids[-1])[-1] == "message.deferred"
        due = OutboundMail.objects.filter(state="queued").order_by("next_attempt_at")
        assert [mail.next_attempt_at.hour for mail in due] == [0, 4]

    def test_a_mail_to_more_than_a_day_has_gets_a_day_of_its_own(self, live: Caller) -> None:
        inbox = of_new_domain(live)
        live.send(inbox, to=[f"{number}@example.com" for number in range(5)])
        run_workers()
        assert (len(outbox.outbox), taken()) == (1, {TUESDAY: 5})

    def test_a_place_is_taken_once_whatever_is_tried_again(self, live: Caller) -> None:
        inbox = of_new_domain(live)
        live.send(inbox)
        OutboundMail.objects.update(attempts=1)
        run_workers()
        assert taken() == {}

    def test_neither_the_servers_own_domain_nor_the_sandbox_is_warmed_up(self, live: Caller, alice: Caller) -> None:
        ours, sandbox = live.create_inbox(), of_new_domain(alice)
        for number in range(5):
            live.send(ours, to=f"{number}@example.com")
            alice.send(sandbox, to=f"{number}@example.com")
        run_workers()
        assert not OutboundMail.objects.filter(state="queued").exists()
        assert not SendingDomain.objects.exists()

    def test_an_operator_ends_it_and_what_waits_leaves(self, live: Caller) -> None:
        inbox = of_new_domain(live)
        for number in range(10):
            live.send(inbox, to=f"{number}@example.com")
        run_workers()
        assert end_warm_up(SendingDomain.objects.get(), "It has been sending for years elsewhere.")
        run_workers()
        assert len(outbox.outbox) == 10

    def test_zero_in_the_settings_is_none(self, live: Caller, settings: Any) -> None:
        settings.WARM_UP = []
        inbox = of_new_domain(live)
        for number in range(5):
            live.send(inbox, to=f"{number}@example.com")
        run_workers()
        assert len(outbox.outbox) == 5


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_eight_senders_take_exactly_the_places_there_are(self, live: Caller) -> None:
        inboxes = [of_new_domain(live) for _ in range(4)]
        for number in range(16):
            live.send(inboxes[number % 4], to=f"{number}@example.com")
        mails = list(OutboundMail.objects.values_list("pk", flat=True))

        def send(number: int) -> None:
            try:
                for mail_id in mails[number * 2 : number * 2 + 2]:
                    send_outbound_mail(mail_id)
            finally:
                connections.close_all()

        with time_machine.travel(MORNING, tick=True), ThreadPoolExecutor(8) as pool:
            list(pool.map(send, range(8)))
        assert OutboundMail.objects.filter(state="sent").count() == 3
        assert taken() == {TUESDAY: 3, WEDNESDAY: 6}
        assert OutboundMail.objects.filter(state="queued", next_attempt_at__date=THURSDAY).count() == 7
