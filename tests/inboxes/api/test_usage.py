"""GET /v1/usage"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from inboxes.models import Account, Inbox
from inboxes.permissions import MESSAGES_READ
from inboxes.quotas import sweep_quotas
from mailbot.lib.rates import Rate
from tests.cast import Caller
from tests.mailing import deliver, mail
from threads.models import Attachment, Message

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def usage(caller: Caller, **query: Any) -> dict[str, Any]:
    answer = caller.get("/v1/usage", **query)
    assert answer.status_code == 200, answer.content
    return dict(answer.json()["data"])


class TestMessages:
    def test_it_counts_mail_in_and_out_by_day(self, alice: Caller) -> None:
        with time_machine.travel(NOON, tick=False) as clock:
            inbox = alice.create_inbox()
            deliver(mail(), inbox)
            alice.send(inbox, to=["a@example.com", "b@example.com"], cc="c@example.com")
            clock.move_to(NOON + timedelta(days=2))
            for _ in range(3):
                deliver(mail(), inbox)
            data = usage(alice)
        assert {name: data["messages"][name] for name in ("received", "sent", "recipients")} == {
            "received": 4,
            "sent": 1,
            "recipients": 3,
        }
        assert data["messages"]["octets"] == sum(Message.objects.values_list("size", flat=True))
        assert [(day["day"], day["received"], day["sent"]) for day in data["days"]] == [
            ("2026-03-10", 1, 1),
            ("2026-03-12", 3, 0),
        ]
        assert (data["from"], data["to"]) == ("2026-02-11", "2026-03-12")

    def test_it_counts_a_batch_for_several_inboxes(self, alice: Caller) -> None:
        one, two = alice.create_inbox(), alice.create_inbox()
        deliver(mail(), one, two)
        deliver(mail(), two)
        assert usage(alice)["messages"]["received"] == 3
        assert usage(alice.with_key(inbox=two))["messages"]["received"] == 2

    def test_it_does_not_count_a_repeated_delivery(self, alice: Caller) -> None:
        inbox, raw = alice.create_inbox(), mail()
        deliver(raw, inbox)
        deliver(raw, inbox)
        assert usage(alice)["messages"]["received"] == 1

    def test_it_looks_at_the_days_that_are_asked_for(self, alice: Caller) -> None:
        with time_machine.travel(NOON, tick=False) as clock:
            inbox = alice.create_inbox()
            for _ in range(3):
                deliver(mail(), inbox)
                clock.shift(timedelta(days=1))
            asked = {"from": "2026-03-11", "to": "2026-03-11T23:30:00-02:00"}  # already the 12th in UTC
            assert usage(alice, **asked)["messages"]["received"] == 2
            assert usage(alice, to="2026-03-10")["messages"]["received"] == 1
            assert usage(alice, **{"from": ""})["messages"]["received"] == 3

    @pytest.mark.parametrize(
        "query",
        [
            {"from": "2026-03-12", "to": "2026-03-11"},
            {"from": "2020-01-01", "to": "2026-01-01"},
            {"from": "yesterday"},
            {"from": "2026-13-01"},
            {"to": "0001-01-01T00:00:00+14:00"},
            {"to": "0001-01-01"},
            {"fromm": "2026-03-12"},
        ],
    )
    def test_it_refuses_what_is_no_period(self, alice: Caller, query: dict[str, str]) -> None:
        answer = alice.get("/v1/usage", **query)
        assert answer.status_code == 400
        assert answer.json()["error"]["fields"]


class TestScope:
    def test_it_shows_the_mode_and_the_account_of_the_key_only(self, alice: Caller, charlie: Caller) -> None:
        live = alice.with_key(mode="live")
        for caller, number in ((alice, 1), (live, 2), (charlie, 4)):
            inbox = caller.create_inbox()
            for _ in range(number):
                deliver(mail(), inbox)
        assert [usage(caller)["messages"]["received"] for caller in (alice, live, charlie)] == [1, 2, 4]
        assert [usage(caller)["storage"]["messages"] for caller in (alice, live, charlie)] == [1, 2, 4]
        assert [usage(caller)["inboxes"]["total"] for caller in (alice, live, charlie)] == [1, 1, 1]

    def test_a_key_of_one_inbox_is_not_told_of_the_others(self, alice: Caller) -> None:
        own, other = alice.create_inbox(), alice.create_inbox()
        alice.send(other)
        data = usage(alice.with_key(inbox=own))
        assert (data["inboxes"]["total"], data["messages"]["sent"], data["storage"]["octets"]) == (1, 0, 0)
        assert data["limits"]["recipients_a_day"]["used"] is None

    def test_it_needs_its_right(self, alice: Caller) -> None:
        assert alice.with_key(permissions=[MESSAGES_READ]).get("/v1/usage").status_code == 403

    def test_it_costs_the_same_number_of_queries_for_any_number_of_rows(
        self, alice: Caller, django_assert_num_queries: Any
    ) -> None:
        for _ in range(3):
            deliver(mail(), alice.create_inbox())
        usage(alice)
        with django_assert_num_queries(7):  # key, days, living and ended inboxes, storage, account, recipients today
            usage(alice)


class TestInboxes:
    def test_it_counts_them_by_status(self, alice: Caller) -> None:
        alice.create_inbox()
        paused, gone, over = alice.create_inbox(), alice.create_inbox(), alice.create_inbox(expires_in=60)
        alice.post(f"/v1/inboxes/{paused.pk}/pause")
        alice.delete(f"/v1/inboxes/{gone.pk}")
        Inbox.objects.filter(pk=over.pk).update(expires_at=timezone.now())
        counted = {"active": 1, "paused": 1, "tripped": 0, "deleted": 2, "total": 4}
        assert usage(alice)["inboxes"] == counted


class TestStorage:
    def test_it_says_what_is_held_now(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(attachments={"a.bin": b"x" * 5000, "b.bin": b"y" * 1000}), inbox)
        alice.send(inbox, attachments=[{"filename": "c", "content": "eHh4"}])
        data = usage(alice)["storage"]
        assert data["messages"] == 2
        assert data["messages_octets"] == sum(Message.objects.values_list("size", flat=True))
        assert data["attachments_octets"] == sum(Attachment.objects.values_list("size", flat=True)) == 6003
        assert data["octets"] == data["messages_octets"] + data["attachments_octets"]

    def test_what_is_purged_is_no_longer_held_but_was_received(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(attachments={"a.bin": b"x" * 5000}), inbox)
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        assert usage(alice)["storage"]["octets"] > 5000
        alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true")
        data = usage(alice)
        assert data["storage"] == {"messages": 0, "messages_octets": 0, "attachments_octets": 0, "octets": 0}
        assert data["messages"]["received"] == 1


class TestLimits:
    @pytest.mark.usefixtures("exact_rates")
    def test_it_says_what_may_be_used(self, settings: Any, alice: Caller, acme: Account) -> None:
        Account.objects.filter(pk=acme.pk).update(daily_send_limit=100, storage_quota=1)
        settings.RATE_LIMIT_KEY = Rate.of("500/hour")
        with time_machine.travel(NOON, tick=False):
            alice.send(alice.create_inbox(), to=["a@example.com", "b@example.com"])
            sweep_quotas()
            limits = usage(alice)["limits"]
        assert limits == {
            "calls": {"key": {"limit": "500/hour", "remaining": 497}, "account": None},
            "recipients_a_day": {"limit": 100, "used": 2, "resets_at": "2026-03-11T00:00:00.000Z"},
            "storage_octets": {"limit": 1, "is_full": True},
        }

    def test_it_says_that_there_is_no_limit(self, alice: Caller) -> None:
        limits = usage(alice)["limits"]
        assert limits["calls"] == {"key": None, "account": None}
        assert (limits["recipients_a_day"]["limit"], limits["storage_octets"]["limit"]) == (None, None)

    def test_the_server_has_limits_for_accounts_without(self, settings: Any, alice: Caller) -> None:
        settings.ACCOUNT_DAILY_SEND_LIMIT, settings.ACCOUNT_STORAGE_QUOTA = 7, 8
        limits = usage(alice)["limits"]
        assert (limits["recipients_a_day"]["limit"], limits["storage_octets"]["limit"]) == (7, 8)
