"""Events of providers that an operator gives their attempts back."""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q

from audit.record import Act, Entry, record_many
from delivery.hooks.calls import ring_for
from delivery.models import ProviderEvent
from inboxes.models import Provider
from mailbot.lib.clock import database_now

# A mail that came for nobody here is not kept, nor what it would take to fetch it again.
CAN_BE_RETRIED = Q(state=ProviderEvent.State.FAILED) | Q(
    state=ProviderEvent.State.UNMATCHED, kind=ProviderEvent.Kind.TRACKING
)


@transaction.atomic
def retry_events(events: Iterable[ProviderEvent], reason: str = "") -> int:
    """Try those again that failed, and news that were of no mail of ours; how many."""
    asked = ProviderEvent.objects.filter(CAN_BE_RETRIED, pk__in=[event.pk for event in events])
    ended = list(asked.select_for_update().defer("payload"))
    providers = Provider.objects.in_bulk({event.provider_id for event in ended})
    record_many(
        Entry(
            Act.PROVIDER_EVENT_RETRIED,
            event,
            providers[event.provider_id].account_id or "",
            changes={"reason": reason} if reason else {},
        )
        for event in ended
    )
    ring_for({event.kind for event in ended})
    pending = {"state": ProviderEvent.State.PENDING, "attempts": 0, "error": "", "processed_at": None}
    again = ProviderEvent.objects.filter(pk__in=[event.pk for event in ended])
    return again.update(next_attempt_at=database_now(), **pending)
