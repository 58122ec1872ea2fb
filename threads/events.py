"""What can happen to a message, a thread or an inbox, and how it is written down."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from mailbot.lib import metrics
from mailbot.lib.bulk import bulk_insert, new_row
from mailbot.lib.ids import first_id
from threads.event_counts import count_events
from threads.models import Event


class EventType(StrEnum):
    MESSAGE_RECEIVED = "message.received"
    MESSAGE_HELD = "message.held"
    MESSAGE_REJECTED = "message.rejected"
    MESSAGE_QUEUED = "message.queued"
    MESSAGE_SENT = "message.sent"
    MESSAGE_DELIVERED = "message.delivered"
    MESSAGE_DEFERRED = "message.deferred"
    MESSAGE_BOUNCED = "message.bounced"
    MESSAGE_COMPLAINED = "message.complained"
    MESSAGE_OPENED = "message.opened"
    MESSAGE_CLICKED = "message.clicked"
    MESSAGE_UNSUBSCRIBED = "message.unsubscribed"
    MESSAGE_FAILED = "message.failed"
    MESSAGE_BLOCKED = "message.blocked"
    MESSAGE_UNKNOWN = "message.unknown"
    MESSAGE_CANCELLED = "message.cancelled"
    THREAD_CREATED = "thread.created"
    THREAD_CLAIMED = "thread.claimed"
    THREAD_RELEASED = "thread.released"
    INBOX_CREATED = "inbox.created"
    INBOX_PAUSED = "inbox.paused"
    INBOX_RESUMED = "inbox.resumed"
    INBOX_TRIPPED = "inbox.tripped"
    INBOX_DELETED = "inbox.deleted"
    DOMAIN_VERIFIED = "domain.verified"


@dataclass(frozen=True, slots=True)
class News:
    """An event before it is written. `inbox_id` empty: it is of the whole account."""

    type: EventType
    account_id: str
    inbox_id: str = ""
    thread_id: str = ""
    message_id: str = ""
    recipient: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    occurred_at: datetime | None = None


def record_events(news: Iterable[News]) -> None:
    """Write events and count them, in the caller's transaction: the row is the outbox."""
    now = timezone.now()
    events = [
        new_row(
            Event,
            account_id=item.account_id,
            inbox_id=item.inbox_id or None,
            type=item.type.value,
            thread_id=item.thread_id,
            message_id=item.message_id,
            recipient=item.recipient,
            data=item.data,
            occurred_at=item.occurred_at or now,
            recorded_at=now,
        )
        for item in news
    ]
    bulk_insert(events)
    count_events(events)
    numbers = Counter(event.type for event in events)
    transaction.on_commit(partial(_count, numbers))


def remove_events(inbox_id: str, before: datetime, limit: int) -> int:
    """Remove the oldest events of an inbox, at most so many: their time is over. How many. What was counted of them stays.

    Everywhere else events are never changed nor removed. In the caller's transaction, who has seen that no legal hold stands against it.
    """
    old = Event.objects.filter(inbox_id=inbox_id, pk__lt=first_id("evt", before)).order_by("pk")
    found = list(old.values_list("pk", flat=True)[:limit])
    return Event.objects.filter(pk__in=found).remove() if found else 0


def _count(numbers: Counter[str]) -> None:
    for kind, number in numbers.items():
        metrics.note_event(kind, number)
