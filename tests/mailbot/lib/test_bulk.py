from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from inboxes.models import Account, Inbox
from mailbot.lib.bulk import bulk_insert, bulk_set, new_row
from mailbot.lib.clock import this_millisecond
from threads.models import Message, Thread

FEW_AND_MANY = pytest.mark.parametrize("number", [1, 3, 40])


@pytest.fixture
def inbox(db: None) -> Inbox:
    account = Account.objects.create(name="Alice's")
    return Inbox.objects.create(account=account, mode="test", address="a@mailbot.localhost")


def thread(inbox: Inbox, **columns: Any) -> Thread:
    return new_row(Thread, account_id=inbox.account_id, inbox_id=inbox.pk, **columns)


def message(thread: Thread, sequence: int, **columns: Any) -> Message:
    place = {"account_id": thread.account_id, "inbox_id": thread.inbox_id, "thread_id": thread.pk}
    return new_row(Message, **place, sequence=sequence, direction="inbound", status="received", **columns)


class TestNewRow:
    def test_it_has_what_an_instance_would_have(self, inbox: Inbox) -> None:
        now = timezone.now()
        columns = {"account_id": inbox.account_id, "inbox_id": inbox.pk, "created_at": now, "last_message_at": now}
        usual, quick = Thread(**columns), new_row(Thread, **columns)
        assert quick.pk.startswith("thread_")
        assert quick.pk != usual.pk
        for field in Thread._meta.concrete_fields[1:]:
            assert getattr(quick, field.attname) == getattr(usual, field.attname), field
        assert quick._state.adding
        assert quick.inbox == inbox

    def test_it_shares_no_list_with_another_one(self, inbox: Inbox) -> None:
        one, other = thread(inbox), thread(inbox)
        one.participants.append("a@example.com")
        assert other.participants == []

    def test_it_says_which_name_is_no_column(self) -> None:
        with pytest.raises(TypeError, match=r"Thread has no columns inbox$"):
            new_row(Thread, inbox=None)


class TestBulkInsert:
    @FEW_AND_MANY
    def test_it_stores_what_it_was_given(self, inbox: Inbox, number: int) -> None:
        parent = thread(inbox)
        values: dict[str, Any] = {
            "subject": "Ünïcode 100 % \\ ' \" \t\n {} %s",
            "to": [{"name": "A", "address": "a@example.com"}],
            "metadata": {"big": 2**70, "none": None, "deep": [1, [2, {"x": "\u2028"}]]},
            "sent_at": this_millisecond() - timedelta(days=1),
            "size": 2**31 - 1,
        }
        rows = [message(parent, sequence, **values) for sequence in range(number)]
        bulk_insert([parent])
        bulk_insert(rows)
        stored = Message.objects.in_bulk([row.pk for row in rows])
        assert len(stored) == number
        for row in rows:
            for field in Message._meta.concrete_fields:
                assert getattr(stored[row.pk], field.attname) == getattr(row, field.attname), field
            assert not row._state.adding

    @FEW_AND_MANY
    def test_it_raises_the_errors_of_django(self, inbox: Inbox, number: int) -> None:
        parent = thread(inbox)
        bulk_insert([parent])
        rows = [message(parent, sequence) for sequence in range(number)]
        with pytest.raises(IntegrityError), transaction.atomic():
            bulk_insert([*rows, message(parent, 0)])
        assert Message.objects.count() == 0

    def test_it_does_nothing_for_nothing(self) -> None:
        bulk_insert([])
        bulk_set([], "subject")


class TestBulkSet:
    @FEW_AND_MANY
    def test_it_writes_each_row_its_own_values_and_no_others(self, inbox: Inbox, number: int) -> None:
        rows = [thread(inbox, subject=f"subject {each}", message_count=each) for each in range(number + 1)]
        bulk_insert(rows)
        for row in rows:
            row.message_count += 7
            row.participants = [row.subject]
            row.last_message_at = this_millisecond() + timedelta(minutes=row.message_count)
            row.subject = "not written"
        bulk_set(rows[:-1], "message_count", "participants", "last_message_at")
        stored = Thread.objects.in_bulk([row.pk for row in rows])
        for each, row in enumerate(rows[:-1]):
            found = stored[row.pk]
            assert (found.message_count, found.participants) == (each + 7, [f"subject {each}"])
            assert (found.last_message_at, found.subject) == (row.last_message_at, f"subject {each}")
        assert stored[rows[-1].pk].message_count == number
