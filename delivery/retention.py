"""What is removed because its time is over: rows of the inbound queue, what ESPs told, and raw mail where a time is set for it.

Mail that failed, that is not processed yet, or whose bytes are not in the object store yet is never removed here, nor is what belongs to
an inbox under legal hold. Where an inbox has a retention class, delivery.retention_sweep goes by that.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.utils import timezone

from audit.record import Act, Entry, record_many
from delivery.models import InboundMail, OutboundMail, ProviderEvent, RawObject
from delivery.raw_erasure import let_go, sources_in_use
from delivery.retention_parts import take_out, those_over
from inboxes.holds import held_inboxes, is_held, keep_out_holds
from inboxes.models import Inbox
from inboxes.retention_classes import has_class
from mailbot.lib.ids import first_id

BATCH = 500
Row = TypeVar("Row", bound=Model)


class Pass:
    """Where this process is among old rows some of which stay, because they are held: behind those that it has passed over.

    At the end it begins anew. Without that each sweep would read all that is held before it came to something that can go.
    """

    def __init__(self) -> None:
        self.after = ""

    def next_free(self, rows: QuerySet[Row], most: int, staying: Callable[[Sequence[Row]], set[str]]) -> list[Row]:
        """The next ones, by their ids, without those whose ids `staying` tells; none, when all that is there stays."""
        rounds = [self.after, ""] if self.after else [""]
        for after in rounds:
            while found := list(rows.filter(pk__gt=after).order_by("pk")[:most]):
                stay = staying(found)
                if stay:
                    self.after = found[-1].pk
                if free := [row for row in found if row.pk not in stay]:
                    return free
                after = found[-1].pk
            self.after = ""
        return []


_rows, _told = Pass(), Pass()
_cards = {"inmail": Pass(), "outmail": Pass()}


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
    rows = _rows.next_free(old.only("pk", "sha256", "recipients"), limit, _held_mail)
    used = sources_in_use((row.pk, row.sha256, _addressed(row)) for row in rows)
    with transaction.atomic():
        keep_out_holds(_accounts_of(rows))
        held = _held_mail(rows)
        found = [row.pk for row in rows if row.pk not in held]
        InboundMail.objects.filter(pk__in=found).delete()
        let_go(set(found) - used)
    return len(found)


def _addressed(row: InboundMail) -> list[str]:
    return [item["inbox_id"] for item in row.recipients]


def _accounts_of(rows: Iterable[InboundMail]) -> set[str]:
    ids = {inbox_id for row in rows for inbox_id in _addressed(row)}
    return set(Inbox.objects.filter(pk__in=ids).values_list("account_id", flat=True))


def _held_mail(rows: Sequence[InboundMail]) -> set[str]:
    held = held_inboxes({inbox_id for row in rows for inbox_id in _addressed(row)})
    return {row.pk for row in rows if held.intersection(_addressed(row))}


def remove_old_provider_events(limit: int = BATCH) -> int:
    """Remove what ESPs told, also of no mail of ours, once it is history; how many. What followed from it stands in events and recipients.

    It names people and has what the ESP sent of them. The row of an event that is told again after that time is a new one.
    """
    if not settings.INBOUND_RETENTION_DAYS:
        return 0
    before = timezone.now() - timedelta(days=settings.INBOUND_RETENTION_DAYS)
    old = ProviderEvent.objects.filter(~is_held("mail__inbox_id", "mail__account_id"), processed_at__lt=before)
    events = _told.next_free(old.only("pk", "kind", "recipient", "mail"), limit, _held_news)
    with transaction.atomic():
        keep_out_holds(_accounts_told_of(events))
        held = _held_news(events)
        found = [event.pk for event in events if event.pk not in held]
        # `old` once more: a hold may have come, and an operator may try one again just now.
        return old.filter(pk__in=found).delete()[0]


def _accounts_told_of(events: Iterable[ProviderEvent]) -> set[str]:
    rows = list(events)
    named = set[str]().union(*(event.addressed for event in rows))
    sent = OutboundMail.objects.filter(pk__in={event.mail_id for event in rows if event.mail_id})
    addressed = Inbox.objects.filter(address__in=named) if named else Inbox.objects.none()
    return {*sent.values_list("account_id", flat=True), *addressed.values_list("account_id", flat=True)}


def _held_news(events: Sequence[ProviderEvent]) -> set[str]:
    """What was told of mail for a held inbox."""
    addresses = {event.pk: named for event in events if (named := event.addressed)}
    asked = Inbox.objects.filter(is_held(), address__in=set().union(*addresses.values()))
    held = set(asked.values_list("address", flat=True)) if addresses else set()
    return {pk for pk, named in addresses.items() if named & held}


def remove_old_raw(limit: int = BATCH) -> int:
    """Remove raw mail from the store when its time is over, and say so in the trail of each account; how many."""
    if not settings.RAW_RETENTION_DAYS:
        return 0
    before = timezone.now() - timedelta(days=settings.RAW_RETENTION_DAYS)
    with transaction.atomic():
        cards = take_out(_kept_since_before(before, limit))
        record_many(_entries(cards, before))
    return len(cards)


def _kept_since_before(before: datetime, limit: int) -> list[RawObject]:
    """Without those of held inboxes, and of inboxes that have a class."""
    inbox = Inbox.objects.filter(pk=OuterRef("inbox_id"))
    classed = Exists(inbox.filter(has_class(account_path="account_id")))
    kept = RawObject.objects.filter(~is_held("inbox_id", "account_id"), ~classed)
    kept = kept.filter(state=RawObject.State.KEPT, mail_at__lt=before)
    found = (
        place.next_free(kept.filter(pk__gte=f"{prefix}_", pk__lt=first_id(prefix, before)), limit, _kept_by_others)
        for prefix, place in _cards.items()
    )
    return list(chain.from_iterable(found))[:limit]


def _kept_by_others(cards: Sequence[RawObject]) -> set[str]:
    return {card.pk for card in cards} - {card.pk for card in those_over(cards)}


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
