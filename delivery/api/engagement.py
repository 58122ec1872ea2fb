"""GET /v1/engagement/events, /stats and /messages/{message_id}: what became of mail that was sent."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from delivery.api.engagement_shapes import (
    ENGAGED,
    FREQUENT,
    EngagementEventSerializer,
    EngagementQuery,
    StatsQuery,
    StatsSerializer,
    TimelineSerializer,
)
from delivery.engagement.stats import rates_of
from inboxes.api.views import InboxScopedView
from inboxes.permissions import ENGAGEMENT_READ
from mailbot.api.errors import Code
from mailbot.api.pagination import paginated
from mailbot.api.schema import described
from mailbot.api.views import data
from threads.event_counts import numbers, total
from threads.models import SELDOM, DailyEvents, Event, Message
from threads.shown import read_events

MOST_IN_A_TIMELINE = 500


class EngagementEventsView(InboxScopedView):
    """GET /engagement/events, newest first"""

    needs = ENGAGEMENT_READ

    @described(
        "List what became of mail",
        query=EngagementQuery,
        answer=EngagementEventSerializer,
        many=True,
        errors=(Code.NOT_FOUND,),
    )
    def get(self, request: Request) -> Response:
        """Newest first, of all inboxes that the key sees, or of one. Without `event`: sent, delivered and all that came after."""
        query = self.query(EngagementQuery)
        events = self.scoped(Event.objects.all())
        if inbox_id := query.get("inbox_id"):
            events = events.filter(inbox_id=self.check_inbox(inbox_id))
        return paginated(_of_kind(events, query.get("event")), query, represent_events, read=read_events)


def _of_kind(events: QuerySet[Event], kind: str | None) -> QuerySet[Event]:
    """What is seldom has an index, which SQLite uses only where its condition is repeated."""
    if kind is None:
        return events.filter(type__in=ENGAGED.values())
    named = events.filter(type=ENGAGED[kind])
    return named if kind in FREQUENT else named.filter(SELDOM)


class EngagementStatsView(InboxScopedView):
    """GET /engagement/stats"""

    needs = ENGAGEMENT_READ

    @described("Counts and rates", query=StatsQuery, answer=StatsSerializer, errors=(Code.NOT_FOUND,))
    def get(self, request: Request) -> Response:
        """Of whole days in UTC, today among them, of all inboxes that the key sees or of one."""
        query = self.query(StatsQuery)
        rows, inbox_id = self.scoped(DailyEvents.objects.all()), query.get("inbox_id")
        if inbox_id:
            rows = rows.filter(inbox_id=self.check_inbox(inbox_id))
        last = timezone.now().date()
        first = last - timedelta(days=query["period"].days - 1)
        days = numbers(rows, first, last)
        counts = total(days.values())
        return data(
            {
                "inbox_id": inbox_id,
                "period": query["period"].text,
                "from": first.isoformat(),
                "to": last.isoformat(),
                "counts": counts,
                "rates": rates_of(counts),
                "days": [{"day": day.isoformat(), **total([kinds])} for day, kinds in days.items()],
            }
        )


class EngagementMessageView(InboxScopedView):
    """GET /engagement/messages/{message_id}"""

    needs = ENGAGEMENT_READ

    @described("The timeline of a message", answer=TimelineSerializer)
    def get(self, request: Request, message_id: str) -> Response:
        """Its events, oldest first, at most 500, and what they come to."""
        columns = ("inbox_id", "thread_id", "subject", "status", "direction", "recipients", "created_at", "sent_at")
        message = self.one(Message.objects.only(*columns), message_id)
        events = Event.objects.filter(inbox_id=message.inbox_id, message_id=message.pk).order_by("id")
        return data(TimelineSerializer(timeline(message, read_events(events[:MOST_IN_A_TIMELINE]))).data)


def timeline(message: Message, events: list[Event]) -> dict[str, Any]:
    told: dict[str, Any] = {name: getattr(message, name) for name in ("inbox_id", "thread_id", "subject", "status")}
    told |= {"message_id": message.pk, "recipients": message.recipients}
    for name, what in (("opened", "opens"), ("clicked", "clicks")):
        by_readers = [event for event in events if event.type == f"message.{name}" and not _is_of_machine(event)]
        told |= {what: len(by_readers), f"first_{name}_at": by_readers[0].occurred_at if by_readers else None}
    return {**told, "events": events}


def _is_of_machine(event: Event) -> bool:
    return bool(event.data.get("probably_machine"))


def represent_events(events: list[Event]) -> Any:
    return EngagementEventSerializer(events, many=True).data
