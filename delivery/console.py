"""What of the queues needs an operator: the start page counts it, the lists filter by it, and both mean the same rows."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone

from audit.reads import record_read
from audit.record import Act
from delivery.models import IN_TROUBLE, ProviderEvent, held_by_nobody
from delivery.outbound.states import State
from delivery.raw import RawGone, raw_of
from inboxes.console import choice_filter
from inboxes.console_reviews import readable, told_of_read
from mailbot.lib.object_store import StoreUnavailable
from threads.models import Message

Rows = QuerySet[Any]
Narrow = Callable[[Rows], Rows]

log = logging.getLogger(__name__)

UNAVAILABLE = "The object store cannot be reached. The raw mail is kept there; try again later."
LATE = timedelta(minutes=1)
RECENTLY = timedelta(hours=24)


def late_inbound(mails: Rows) -> Rows:
    """Promised to its sender, and after a minute still in no inbox: nobody took it, or whoever did is gone."""
    before = timezone.now() - LATE
    unfinished = mails.filter(processed_at=None)
    return unfinished.filter(Q(state="stored", received_at__lt=before) | Q(state="processing", lease_until__lt=before))


def inbound_in_state(mails: Rows, state: str) -> Rows:
    """Unfinished mail is a handful among millions, and in an index of its own."""
    narrowed = mails.filter(state=state)
    return narrowed if state in ("processed", "rejected") else narrowed.filter(processed_at=None)


def late_outbound(mails: Rows) -> Rows:
    """Due for a minute, and no worker has taken it or the one that did is gone."""
    before = timezone.now() - LATE
    return mails.filter(
        Q(state=State.QUEUED, next_attempt_at__lt=before)
        | Q(state=State.SENDING, lease_until__lt=before)
        | Q(state=State.PREPARING, next_attempt_at__lt=before, lease_until=None)
        | Q(state=State.PREPARING, lease_until__lt=before)
    )


def recently_failed(mails: Rows) -> Rows:
    return mails.filter(state=State.FAILED, finished_at__gte=timezone.now() - RECENTLY)


def late_events(events: Rows) -> Rows:
    """Due for a minute, and nobody has taken it or whoever did is gone. One that waits for its next try is not late."""
    before = timezone.now() - LATE
    return events.filter(held_by_nobody(before), processed_at=None, next_attempt_at__lt=before)


def events_in_state(events: Rows, state: str) -> Rows:
    """Among millions that are processed, each of the others by the index that has it."""
    if state == ProviderEvent.State.PENDING:
        return events.filter(processed_at=None)
    narrowed = events.filter(state=state)
    return narrowed if state == ProviderEvent.State.PROCESSED else narrowed.filter(IN_TROUBLE)


def recently_in(state: str) -> Narrow:
    return lambda events: events.filter(state=state, processed_at__gte=timezone.now() - RECENTLY)


INBOUND_NEEDS: dict[str, tuple[str, Narrow]] = {
    "late": ("waiting for more than a minute", late_inbound),
    "failed": ("failed", lambda mails: mails.filter(state="failed", processed_at=None)),
}
OUTBOUND_NEEDS: dict[str, tuple[str, Narrow]] = {
    "unknown": ("unknown: sent or not?", lambda mails: mails.filter(state=State.UNKNOWN)),
    "late": ("overdue for more than a minute", late_outbound),
    "sending": ("being sent", lambda mails: mails.filter(state=State.SENDING)),
    "failed": ("failed in the last 24 hours", recently_failed),
}
PROVIDER_EVENT_NEEDS: dict[str, tuple[str, Narrow]] = {
    "failed": ("failed in the last 24 hours", recently_in("failed")),
    "late": ("overdue for more than a minute", late_events),
    "unmatched": ("unmatched in the last 24 hours", recently_in("unmatched")),
    "retried": ("waiting for another try", lambda events: events.filter(processed_at=None, attempts__gt=0)),
}


def needs_filter(needs: Mapping[str, tuple[str, Narrow]]) -> type[admin.SimpleListFilter]:
    choices = [(name, label) for name, (label, _) in needs.items()]
    return choice_filter("needs", "need", choices, lambda rows, name: needs[name][1](rows) if name in needs else rows)


def raw_message(request: HttpRequest, message_id: str) -> HttpResponse:
    """The raw bytes of a message as a download that no browser opens by itself.

    404 when they are gone, or not the user's to read; 503 when they are kept and the object store does not give them now.
    """
    rows = readable(request, Message.objects.only("id", "direction", "source_id", "account_id", "inbox_id"))
    message = rows.filter(pk=message_id.replace("\0", "")).first()
    try:
        raw = raw_of(message) if message else b""
    except RawGone:
        message = None
    except StoreUnavailable as error:
        log.warning("The object store cannot be used: %s", error)
        return HttpResponse(UNAVAILABLE, status=503, content_type="text/plain", headers={"Retry-After": "30"})
    if message is None:
        raise Http404("There are no raw bytes of this message.")
    place = {"account_id": message.account_id, "inbox_id": message.inbox_id}
    record_read(Act.RAW_READ, "message", message.pk, **place, **told_of_read(request, **place))
    response = HttpResponse(raw, content_type="application/octet-stream")
    response["Content-Disposition"] = f'attachment; filename="{message.pk}.eml"'
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response
