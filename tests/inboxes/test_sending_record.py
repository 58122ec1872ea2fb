"""The sending record: rows of five minutes, of which in the end one an hour is left, and none after eight days."""

from datetime import UTC, datetime, timedelta

import pytest

from inboxes.models import Inbox, SendingRecord
from inboxes.sending_record import KEPT_FOR, Tally, add_to_record, figures_of, row_start, sweep
from tests.cast import Caller

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def count(inbox: Inbox, at: datetime, **numbers: int) -> None:
    add_to_record([Tally(inbox.account_id, inbox.pk, "", at, **numbers)])


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox()


class TestRows:
    def test_they_begin_every_five_minutes(self) -> None:
        assert row_start(NOON + timedelta(minutes=7), None, None) == NOON + timedelta(minutes=5)

    def test_one_begins_where_the_breaker_was_reset(self) -> None:
        reset, now = NOON + timedelta(minutes=6), NOON + timedelta(minutes=8)
        assert row_start(now, reset, None) == row_start(now, reset, now) == reset
        assert row_start(NOON + timedelta(minutes=12), reset, now) == NOON + timedelta(minutes=10)

    @pytest.mark.parametrize("minutes", [5, 6])
    def test_news_of_mail_from_before_go_before_it(self, minutes: int) -> None:
        reset = NOON + timedelta(minutes=minutes)
        for later in (timedelta(minutes=1), timedelta(hours=3)):
            assert row_start(reset + later, reset, NOON) < reset

    def test_what_is_added_adds_up(self, inbox: Inbox) -> None:
        count(inbox, NOON, sent=2)
        count(inbox, NOON, sent=1, bounced=1)
        row = SendingRecord.objects.get()
        assert (row.sent, row.bounced, row.delivered) == (3, 1, 0)


class TestFigures:
    def test_they_are_of_an_hour_a_day_and_a_week(self, inbox: Inbox) -> None:
        for hours in (0.5, 5, 50, 500):
            count(inbox, NOON - timedelta(hours=hours), sent=1)
        figures = figures_of([inbox.pk], NOON)[inbox.pk]
        assert {window: of.sent for window, of in figures.items()} == {"1h": 1, "24h": 2, "7d": 3}

    def test_a_rate_is_never_above_one(self, inbox: Inbox) -> None:
        count(inbox, NOON, sent=1, bounced=3)
        assert figures_of([inbox.pk], NOON)[inbox.pk]["1h"].bounce_rate == 1.0


class TestSweep:
    def test_it_leaves_one_row_an_hour_with_all_that_was_counted(self, inbox: Inbox, alice: Caller) -> None:
        other = alice.create_inbox()
        for minutes in range(0, 60, 5):
            count(inbox, NOON + timedelta(minutes=minutes), sent=2, delivered=1)
        count(other, NOON + timedelta(minutes=30), sent=1)
        count(inbox, NOON + timedelta(minutes=60), sent=1)
        sweep(NOON + timedelta(hours=3, minutes=5))
        rows = list(SendingRecord.objects.filter(inbox=inbox).order_by("starts_at").values_list("starts_at", "sent"))
        assert rows == [(NOON, 24), (NOON + timedelta(hours=1), 1)]
        assert SendingRecord.objects.get(inbox=other).sent == 1

    def test_it_keeps_apart_what_came_before_a_reset(self, inbox: Inbox) -> None:
        reset = NOON + timedelta(minutes=17)
        Inbox.objects.filter(pk=inbox.pk).update(record_from=reset)
        for at in (NOON, NOON + timedelta(minutes=10), reset, NOON + timedelta(minutes=20)):
            count(inbox, at, sent=1)
        sweep(NOON + timedelta(hours=3))
        assert dict(SendingRecord.objects.values_list("starts_at", "sent")) == {NOON: 2, reset: 2}

    def test_it_removes_what_is_old(self, inbox: Inbox) -> None:
        count(inbox, NOON, sent=1)
        sweep(NOON + KEPT_FOR)
        assert SendingRecord.objects.exists()
        sweep(NOON + KEPT_FOR + timedelta(minutes=1))
        assert not SendingRecord.objects.exists()
