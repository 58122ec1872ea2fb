"""Ephemeral inboxes: over from the very second on, and swept without any standing in the way of others."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import AuditEntry
from inboxes import expiry
from inboxes.expiry import sweep_expired
from inboxes.models import Account, Inbox
from inboxes.provisioning import expire_inbox
from mailbot.lib.ids import new_id
from tests.cast import Caller, run_workers
from tests.mailing import deliver, inbox_for, mail
from threads.models import Event, Message

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock


def over(account: Account, number: int, **columns: Any) -> None:
    """Inboxes whose time is over."""
    at = timezone.now() - MINUTE
    Inbox.objects.bulk_create(
        Inbox(
            id=new_id("inbox"),
            account=account,
            mode="test",
            address=f"over-{number}@mailbot.localhost",
            local_part=f"over-{number}",
            domain="mailbot.localhost",
            expires_at=at,
            **columns,
        )
        for number in range(number)
    )


class TestFromTheVerySecond:
    """Before any sweep."""

    def test_it_takes_no_mail(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(expires_in=60)
        clock.shift(timedelta(seconds=59.9))
        assert inbox_for(inbox.address)
        clock.shift(timedelta(seconds=0.1))
        assert inbox_for(inbox.address) is None

    def test_it_sends_none(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(expires_in=60)
        clock.shift(MINUTE)
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "a@example.com"})
        assert (answer.status_code, answer.json()["error"]["reason"]) == (422, "inbox_deleted")

    def test_what_is_queued_is_not_sent_either(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(expires_in=60)
        message = alice.send(inbox)
        clock.shift(MINUTE)
        run_workers()
        assert alice.events(message_id=message["id"])[-1] == "message.blocked"

    def test_it_looks_deleted(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(expires_in=60)
        clock.shift(MINUTE)
        shown = alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]
        assert (shown["status"], shown["status_reason"]) == ("deleted", "expired")
        assert shown["deleted_at"] == shown["expires_at"] == "2026-03-10T12:01:00.000Z"
        assert alice.get("/v1/inboxes", status="active").json()["data"] == []
        assert [item["status"] for item in alice.get("/v1/inboxes", status="deleted").json()["data"]] == ["deleted"]

    def test_it_does_not_come_back_to_life(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(expires_in=60)
        clock.shift(MINUTE)
        assert alice.patch(f"/v1/inboxes/{inbox.pk}", {"expires_in": 60}).status_code == 410
        assert alice.post(f"/v1/inboxes/{inbox.pk}/pause").status_code == 410

    def test_what_it_holds_stays_readable(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(expires_in=60)
        deliver(mail(), inbox)
        clock.shift(MINUTE)
        assert len(alice.messages(inbox)) == 1

    def test_its_address_and_client_id_are_free_for_its_account(
        self, clock: Any, alice: Caller, charlie: Caller
    ) -> None:
        first = alice.create_inbox(username="signup", client_id="job-1", expires_in=60)
        clock.shift(MINUTE)
        assert charlie.post("/v1/inboxes", {"username": "signup"}).status_code == 409
        second = alice.create_inbox(client_id="job-1")
        third = alice.create_inbox(username="signup")
        assert len({first.pk, second.pk, third.pk}) == 3
        assert Inbox.objects.get(pk=first.pk).status == "deleted"
        assert AuditEntry.objects.filter(act="inbox.expired", inbox_id=first.pk).count() == 1

    def test_deleting_it_says_that_it_expired(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(expires_in=60)
        clock.shift(2 * MINUTE)
        shown = alice.delete(f"/v1/inboxes/{inbox.pk}").json()["data"]
        assert (shown["status_reason"], shown["deleted_at"]) == ("expired", "2026-03-10T12:01:00.000Z")


class TestSweep:
    def test_it_writes_down_what_is_over(self, clock: Any, alice: Caller) -> None:
        inbox, other = alice.create_inbox(expires_in=60), alice.create_inbox(expires_in=600)
        clock.shift(2 * MINUTE)
        assert sweep_expired() == (1, 0)
        inbox.refresh_from_db()
        assert (inbox.status, inbox.status_reason, inbox.deleted_at) == ("deleted", "expired", NOON + MINUTE)
        assert AuditEntry.objects.get(act="inbox.expired").inbox_id == inbox.pk
        assert Event.objects.get(type="inbox.deleted").data == {"reason": "expired"}
        assert Inbox.objects.get(pk=other.pk).status == "active"
        assert sweep_expired() == (0, 0)

    def test_it_ends_paused_ones_too(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(expires_in=60)
        alice.post(f"/v1/inboxes/{inbox.pk}/pause")
        clock.shift(MINUTE)
        assert sweep_expired() == (1, 0)

    def test_one_that_fails_blocks_no_other(self, acme: Account, monkeypatch: Any, caplog: Any) -> None:
        over(acme, 5)
        poison = Inbox.objects.order_by("pk")[0].pk

        def expire(inbox: Inbox) -> Inbox:
            if inbox.pk == poison:
                Inbox.objects.create(pk=inbox.pk)  # an error of the database, which ends the transaction around it
            return expire_inbox(inbox)

        monkeypatch.setattr(expiry, "expire_inbox", expire)
        monkeypatch.setattr(expiry, "AT_ONCE", 2)
        assert sweep_expired() == (4, 0)
        assert poison in caplog.text
        monkeypatch.undo()
        assert sweep_expired() == (1, 0)

    def test_it_goes_through_a_backlog_in_small_transactions(self, acme: Account) -> None:
        over(acme, 120)
        with CaptureQueriesContext(connection) as context:
            assert sweep_expired() == (120, 0)
        batches = [q for q in context.captured_queries if q["sql"].startswith("SELECT") and "ORDER BY" in q["sql"]]
        assert len(batches) == 5  # three with inboxes, one that finds no more, and one that looks what to purge
        assert AuditEntry.objects.filter(act="inbox.expired").count() == 120

    def test_it_stops_when_its_time_is_over_and_goes_on_next_time(self, acme: Account) -> None:
        over(acme, 120)
        assert [sweep_expired(seconds=0)[0] for _ in range(4)] == [50, 50, 20, 0]

    def test_it_leaves_one_that_was_put_off_meanwhile(self, acme: Account) -> None:
        over(acme, 1)
        seen = Inbox.objects.get()
        Inbox.objects.update(expires_at=timezone.now() + MINUTE)
        assert expire_inbox(seen).status == "active"
        assert not AuditEntry.objects.filter(act="inbox.expired").exists()

    def test_it_finds_them_by_an_index_that_the_ended_leave(self, acme: Account) -> None:
        """However many have ended over the years."""
        with CaptureQueriesContext(connection) as context:
            sweep_expired()
        found = [query["sql"] for query in context.captured_queries if query["sql"].startswith("SELECT")]
        with connection.cursor() as cursor, transaction.atomic():
            if connection.vendor == "postgresql":
                cursor.execute("SET LOCAL enable_seqscan = off")
            plans = []
            for statement in found:
                cursor.execute(f"EXPLAIN {'QUERY PLAN ' if connection.vendor == 'sqlite' else ''}{statement}")
                plans.append(str(cursor.fetchall()))
        assert "inbox_to_expire" in plans[0]
        assert "inbox_to_purge" in plans[1]


class TestPurgeOnExpiry:
    def test_it_erases_what_it_held(self, clock: Any, alice: Caller) -> None:
        answer = alice.post("/v1/inboxes", {"expires_in": 60, "purge_on_expiry": True}).json()["data"]
        assert answer["purge_on_expiry"] is True
        inbox = Inbox.objects.get(pk=answer["id"])
        deliver(mail(), inbox)
        clock.shift(MINUTE)
        assert sweep_expired() == (1, 1)
        assert not Message.objects.exists()
        inbox.refresh_from_db()
        assert inbox.purged_at is not None
        acts = AuditEntry.objects.filter(inbox_id=inbox.pk).order_by("id").values_list("act", flat=True)
        assert list(acts)[-2:] == ["inbox.expired", "inbox.purged"]
        assert sweep_expired() == (0, 0)

    def test_it_can_be_chosen_later_and_taken_back(self, clock: Any, alice: Caller) -> None:
        kept, erased = alice.create_inbox(expires_in=60, purge_on_expiry=True), alice.create_inbox(expires_in=60)
        for inbox in (kept, erased):
            deliver(mail(), inbox)
        alice.patch(f"/v1/inboxes/{kept.pk}", {"purge_on_expiry": False})
        alice.patch(f"/v1/inboxes/{erased.pk}", {"purge_on_expiry": True})
        clock.shift(MINUTE)
        assert sweep_expired() == (2, 1)
        assert [len(alice.messages(inbox)) for inbox in (kept, erased)] == [1, 0]

    def test_one_that_was_deleted_before_keeps_its_content_until_then(self, clock: Any, alice: Caller) -> None:
        inbox = alice.create_inbox(expires_in=60, purge_on_expiry=True)
        deliver(mail(), inbox)
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        assert sweep_expired() == (0, 0)
        assert len(alice.messages(inbox)) == 1
        clock.shift(MINUTE)
        assert sweep_expired() == (0, 1)
        assert alice.messages(inbox) == []
