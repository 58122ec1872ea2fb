"""How many recipients an inbox and an account may send to on a day: exact, however many send at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from delivery.outbound.queue import Blocked, Draft, queue_mail
from inboxes.models import Account, DailyUsage, Inbox
from tests.cast import Caller
from threads.mime import Address
from threads.models import Message

EVENING = datetime(2026, 3, 10, 23, 30, tzinfo=UTC)
SENDERS = 8


def refused(caller: Caller, inbox: Inbox, number: int = 1) -> dict[str, Any]:
    """The error of a send to so many; nothing where it was taken."""
    answer = caller.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": [f"{n}@example.com" for n in range(number)]})
    if answer.status_code == 202:
        return {}
    assert answer.status_code == 422
    return {**answer.json()["error"], "retry_after": answer.headers.get("Retry-After")}


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(EVENING, tick=False) as clock:
        yield clock


class TestInbox:
    def test_it_says_what_and_when(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(daily_send_limit=3)
        assert not refused(alice, inbox, 2)
        error = refused(alice, inbox, 2)
        assert (error["code"], error["reason"]) == ("blocked", "daily_send_limit")
        assert "2 of 3" in error["message"]
        assert (error["retry_at"], error["retry_after"]) == ("2026-03-11T00:00:00.000Z", "1800")

    def test_it_begins_anew_at_midnight(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(daily_send_limit=1)
        assert not refused(alice, inbox)
        clock.shift(timedelta(minutes=30, seconds=-1))
        assert refused(alice, inbox)
        clock.shift(timedelta(seconds=1))
        assert not refused(alice, inbox)
        assert alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["sends_today"] == 1

    def test_a_clock_behind_does_not_begin_yesterday_anew(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(daily_send_limit=1)
        clock.shift(timedelta(minutes=31))
        assert not refused(alice, inbox)
        clock.shift(timedelta(minutes=-5))
        assert refused(alice, inbox)

    def test_a_clock_that_was_far_ahead_does_not_stop_it_for_long(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(daily_send_limit=1)
        Inbox.objects.update(sends_today=1, sends_counted_on=date(2027, 1, 1))
        assert not refused(alice, inbox)

    def test_none_at_all_is_a_limit(self, alice: Caller) -> None:
        assert refused(alice, alice.create_inbox(daily_send_limit=0))


class TestAccount:
    def test_all_its_inboxes_share_it(self, clock: Any, alice: Caller, charlie: Caller) -> None:
        Account.objects.filter(pk=alice.account.pk).update(daily_send_limit=3)
        one, two = alice.create_inbox(), alice.create_inbox()
        assert not refused(alice, one, 2)
        error = refused(alice, two, 2)
        assert (error["reason"], error["retry_after"]) == ("account_daily_send_limit", "1800")
        assert "2 of 3" in error["message"]
        assert not refused(alice, two)
        assert not refused(charlie, charlie.create_inbox(), 5)

    def test_a_key_of_one_inbox_shares_it_and_is_not_told_of_the_others(self, clock: Any, alice: Caller) -> None:
        Account.objects.filter(pk=alice.account.pk).update(daily_send_limit=3)
        one, two = alice.create_inbox(), alice.create_inbox()
        assert not refused(alice, one, 2)
        limited = alice.with_key(inbox=two)
        error = refused(limited, two, 2)
        assert error["reason"] == "account_daily_send_limit"
        assert "3 recipients" in error["message"]
        assert "2 of 3" not in error["message"]
        assert not refused(limited, two)
        assert refused(limited, two)

    def test_a_refused_send_counts_nowhere(self, clock: Any, alice: Caller) -> None:
        Account.objects.filter(pk=alice.account.pk).update(daily_send_limit=1)
        inbox = alice.create_inbox()
        assert refused(alice, inbox, 2)
        assert not DailyUsage.objects.exists()
        assert alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["sends_today"] == 0

    def test_what_was_sent_before_there_was_a_limit_counts(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox()
        assert not refused(alice, inbox, 3)
        alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true")
        Account.objects.filter(pk=alice.account.pk).update(daily_send_limit=3)
        assert refused(alice, alice.create_inbox())

    def test_the_sandbox_takes_nothing_from_live_mail(self, clock: Any, alice: Caller) -> None:
        Account.objects.filter(pk=alice.account.pk).update(daily_send_limit=1)
        assert not refused(alice, alice.create_inbox())
        live = alice.with_key(mode="live")
        assert not refused(live, live.create_inbox())

    def test_the_server_has_one_for_accounts_without(self, clock: Any, alice: Caller, settings: Any) -> None:
        settings.ACCOUNT_DAILY_SEND_LIMIT = 1
        inbox = alice.create_inbox()
        assert refused(alice, inbox, 2)
        Account.objects.filter(pk=alice.account.pk).update(daily_send_limit=2)
        assert not refused(alice, inbox, 2)

    def test_without_a_limit_the_account_is_neither_locked_nor_added_up(self, alice: Caller) -> None:
        """Otherwise all sends of an account would stand in one line."""
        inbox = alice.create_inbox()
        with CaptureQueriesContext(connection) as context:
            alice.send(inbox)
        statements = [query["sql"] for query in context.captured_queries]
        assert not [sql for sql in statements if sql.startswith("SELECT") and 'FROM "inboxes_account"' in sql]
        assert not [sql for sql in statements if sql.startswith("SELECT SUM")]


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def send_all(self, inboxes: list[Inbox], recipients: int) -> int:
        """Each of SENDERS threads sends three mails, from inboxes by turns; how many were taken."""
        to = tuple(Address("", f"{number}@example.com") for number in range(recipients))

        def send(number: int) -> int:
            try:
                return sum(self.send(inboxes[(number + turn) % len(inboxes)], to) for turn in range(3))
            finally:
                connections.close_all()

        with ThreadPoolExecutor(SENDERS) as pool:
            return sum(pool.map(send, range(SENDERS)))

    def send(self, inbox: Inbox, to: tuple[Address, ...]) -> bool:
        try:
            queue_mail(inbox, Draft(to=to))
        except Blocked:
            return False
        return True

    def test_an_inbox_sends_exactly_what_it_may(self, alice: Caller) -> None:
        inbox = alice.create_inbox(daily_send_limit=21)
        assert self.send_all([inbox], recipients=2) == 10
        inbox.refresh_from_db()
        assert inbox.sends_today == 20
        assert Message.objects.count() == 10

    def test_an_account_does_with_all_its_inboxes(self, alice: Caller) -> None:
        Account.objects.filter(pk=alice.account.pk).update(daily_send_limit=21)
        inboxes = [alice.create_inbox() for _ in range(3)]
        assert self.send_all(inboxes, recipients=2) == 10
        assert sum(DailyUsage.objects.values_list("recipients", flat=True)) == 20

    def test_each_is_counted_once(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        assert self.send_all([inbox], recipients=2) == 3 * SENDERS
        inbox.refresh_from_db()
        usage = DailyUsage.objects.get()
        assert inbox.sends_today == usage.recipients == 6 * SENDERS
        assert usage.sent == inbox.message_count == 3 * SENDERS
        assert usage.octets == inbox.message_octets == sum(Message.objects.values_list("size", flat=True))
