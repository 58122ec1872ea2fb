"""What is removed because its time is over: rows of the inbound queue, what ESPs told, and raw mail where a time is set for it.

Mail that failed, that is not processed yet, or whose bytes are not in the object store yet is never removed here.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import chain

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit.record import Act, Entry, record_many
from delivery.models import InboundMail, ProviderEvent, RawObject
from delivery.raw_erasure import let_go, sources_in_use
from inboxes.models import Inbox
from mailbot.lib.ids import first_id

BATCH = 500


def remove_finished_rows(limit: int = BATCH) -> int:
    """Remove rows of deliveries that are history; how many.

    The raw mail stays, for the messages that were made of it, with its card. Where there is no such message (a repeated delivery,
    an inbox that was purged meanwhile) nobody could ask for the bytes, and they go with the row.
    """
    if not settings.INBOUND_RETENTION_DAYS:
        return 0
    before = timezone.now() - timedelta(days=settings.INBOUND_RETENTION_DAYS)
    state = InboundMail.State
    moved = Q(state=state.REJECTED) | Q(state=state.PROCESSED, raw_in_row=False)
    old = InboundMail.objects.filter(moved, pk__lt=first_id("inmail", before), received_at__lt=before)
    rows = list(old.order_by("pk").values_list("pk", "sha256", "recipients")[:limit])
    used = sources_in_use((pk, sha256, [item["inbox_id"] for item in recipients]) for pk, sha256, recipients in rows)
    found = [pk for pk, _, _ in rows]
    with transaction.atomic():
        InboundMail.objects.filter(pk__in=found).delete()
        let_go(set(found) - used)
    return len(found)


def remove_old_provider_events(limit: int = BATCH) -> int:
    """Remove what ESPs told, also of no mail of ours, once it is history; how many. What followed from it stands in events and recipients.

    It names people and has what the ESP sent of them. The row of an event that is told again after that time is a new one.
    """
    if not settings.INBOUND_RETENTION_DAYS:
        return 0
    before = timezone.now() - timedelta(days=settings.INBOUND_RETENTION_DAYS)
    old = ProviderEvent.objects.filter(processed_at__lt=before).order_by("processed_at").values_list("pk", flat=True)
    found = list(old[:limit])
    ProviderEvent.objects.filter(
        pk__in=found, processed_at__lt=before
    ).delete()  # an operator may try one again just now
    return len(found)


def remove_old_raw(limit: int = BATCH) -> int:
    """Remove raw mail from the store when its time is over, and say so in the trail of each account; how many."""
    if not settings.RAW_RETENTION_DAYS:
        return 0
    before = timezone.now() - timedelta(days=settings.RAW_RETENTION_DAYS)
    with transaction.atomic():
        cards = _kept_since_before(before, limit)
        let_go(card.pk for card in cards)
        record_many(_entries(cards, before))
    return len(cards)


def _kept_since_before(before: datetime, limit: int) -> list[RawObject]:
    kept = RawObject.objects.select_for_update(skip_locked=True).filter(state=RawObject.State.KEPT, mail_at__lt=before)
    found = (
        kept.filter(pk__gte=f"{prefix}_", pk__lt=first_id(prefix, before)).order_by("pk")[:limit]
        for prefix in ("inmail", "outmail")
    )
    return list(chain.from_iterable(found))[:limit]


def _entries(cards: Sequence[RawObject], before: datetime) -> list[Entry]:
    """One for each account, also for those whose inboxes were not the first that a mail was for."""
    others = {inbox_id for card in cards for inbox_id in card.other_inboxes}
    account_of = dict(Inbox.objects.filter(pk__in=others).values_list("pk", "account_id"))
    mails: Counter[str] = Counter()
    octets: Counter[str] = Counter()
    for card in cards:
        for account_id in {card.account_id, *(account_of.get(inbox_id, "") for inbox_id in card.other_inboxes)}:
            mails[account_id] += 1
            octets[account_id] += card.size
    about = {"reason": "retention", "days": settings.RAW_RETENTION_DAYS, "mail_before": before.isoformat()}
    return [
        Entry(Act.RAW_REMOVED, None, account_id, changes={"mails": number, "octets": octets[account_id], **about})
        for account_id, number in mails.items()
    ]
