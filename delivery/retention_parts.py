"""What of one inbox is over, and removing a batch of it: content, raw mail, events and trail apart.

Each batch is a transaction of its own, small enough for SQLite, in which nobody else writes meanwhile. It asks for legal holds when it
has begun, so that none comes between, and leaves an entry with its numbers.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit.ageing import old_entries, remove_old_entries
from audit.record import Act, Entry, record, record_many
from delivery.models import InboundMail, OutboundMail, RawObject
from delivery.outbound.states import FINAL
from delivery.raw_erasure import let_go
from inboxes.holds import held_inboxes, keep_out_holds
from inboxes.models import Inbox
from inboxes.quotas import see_whether_room
from inboxes.retention_classes import Periods, periods_among, periods_of
from mailbot.lib.bulk import batches
from mailbot.lib.ids import first_id
from mailbot.lib.scope import acting_for_everybody
from threads.erasure import erase_messages
from threads.events import remove_events
from threads.models import Event, Message

MESSAGES = 50  # in a batch
OTHERS = 500


class Old(NamedTuple):
    """How many rows are older, and how many of them stay for now all the same."""

    rows: int
    stay: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """`remove` takes an inbox and what is older than when, and says how many of a batch it removed; 0: there is nothing more.
    `count` says how many there are among the oldest `most` rows (None: among all)."""

    name: str
    remove: Callable[[Inbox, datetime], int]
    count: Callable[[Inbox, datetime, int | None], Old]


def before(days: int | None) -> datetime | None:
    """What is older is over."""
    return None if days is None else timezone.now() - timedelta(days=days)


def times_of(inbox: Inbox, periods: Periods | None = None) -> dict[str, datetime]:
    """By the name of the part. What is kept for ever is absent."""
    found = (periods or periods_of(inbox))._asdict()
    times = {name: before(days) for name, days in found.items()}
    return {name: time for name, time in times.items() if time is not None}


@contextmanager
def _batch(inbox: Inbox) -> Iterator[bool]:
    """A transaction; whether the inbox is free of holds in it."""
    with transaction.atomic():
        keep_out_holds([inbox.account_id])
        yield not held_inboxes([inbox.pk])


def _about(inbox: Inbox, time: datetime, **numbers: int) -> dict[str, Any]:
    return {**numbers, "reason": "retention", "older_than": time.isoformat()}


# --- Content ---


def remove_content(inbox: Inbox, time: datetime) -> int:
    """Messages with all that belongs to them. What is still on its way out stays until it is settled."""
    with _batch(inbox) as is_free:
        found = _settled(_old_messages(inbox, time)) if is_free else []
        if not found:
            return 0
        erased = erase_messages(inbox, found)
        if erased.messages:
            about = _about(inbox, time, **erased._asdict())
            record(Act.CONTENT_REMOVED, inbox, account_id=inbox.account_id, inbox_id=inbox.pk, changes=about)
            see_whether_room(inbox.account_id)
    return erased.messages


def _old_messages(inbox: Inbox, time: datetime) -> Iterator[list[str]]:
    """In batches, by their numbers, which rise with time: so the first one that is younger ends it, and no index by time is needed."""
    rows = Message.objects.filter(inbox=inbox).order_by("sequence").values_list("pk", "sequence", "created_at")
    number = 0
    while found := list(rows.filter(sequence__gt=number)[:MESSAGES]):
        old = [pk for pk, _, created_at in found if created_at < time]
        yield old
        if len(old) < len(found):
            return
        number = found[-1][1]


def _settled(batches: Iterable[list[str]]) -> list[str]:
    """The first batch in which there is one that can go, without those that are on their way out."""
    for ids in batches:
        unsettled = OutboundMail.objects.filter(message_id__in=ids).exclude(state__in=[state.value for state in FINAL])
        # In the order in which whoever settles mail locks: so none of the others moves any more.
        list(OutboundMail.objects.filter(message_id__in=ids).order_by("pk").select_for_update().values_list("pk"))
        stay = set(unsettled.values_list("message_id", flat=True))
        if free := [pk for pk in ids if pk not in stay]:
            return free
    return []


def count_content(inbox: Inbox, time: datetime, most: int | None) -> Old:
    oldest = Message.objects.filter(inbox=inbox).order_by("sequence")[:most]
    old = Message.objects.filter(pk__in=oldest.values("pk"), created_at__lt=time)
    unsettled = OutboundMail.objects.filter(message__in=old).exclude(state__in=[state.value for state in FINAL])
    return Old(old.count(), unsettled.count())


# --- Raw mail ---


def remove_raw(inbox: Inbox, time: datetime) -> int:
    """Raw mail in the store. What was for other inboxes too goes when the time of all of them is over."""
    last = ""
    while found := list(_old_raw(inbox, time).filter(pk__gt=last)[:OTHERS]):
        with transaction.atomic():
            over = take_out(found)
            record_many(_raw_entries(over, inbox, time))
        if over:
            return len(over)
        last = found[-1].pk
    return 0


def take_out(found: Sequence[RawObject]) -> list[RawObject]:
    """Let go, in the open transaction, those of these cards that no inbox keeps any longer: by hold, or by its time for raw mail."""
    keep_out_holds({found_of.account_id for found_of in _owners(found).values()})
    kept = RawObject.objects.select_for_update(skip_locked=True).filter(state=RawObject.State.KEPT)
    over = those_over(list(kept.filter(pk__in=[card.pk for card in found]).order_by("pk")))
    let_go(card.pk for card in over)
    return over


def _old_raw(inbox: Inbox, time: datetime) -> QuerySet[RawObject]:
    kept = RawObject.objects.filter(inbox_id=inbox.pk, state=RawObject.State.KEPT, mail_at__lt=time)
    return kept.order_by("pk")


def _owners(cards: Sequence[RawObject]) -> dict[str, Inbox]:
    """The inboxes that still have something, by id."""
    ids = {inbox_id for card in cards for inbox_id in (card.inbox_id, *card.other_inboxes)}
    return {inbox.pk: inbox for inbox in Inbox.objects.filter(pk__in=ids, purged_at=None)}


def those_over(cards: Sequence[RawObject], asking: Inbox | None = None) -> list[RawObject]:
    """Those that no inbox keeps any longer, without those of mail that failed or is still to be read; of the one that asks it is known that
    its time is over."""
    owners = _owners(cards)
    if asking:
        owners.pop(asking.pk, None)
    unread = InboundMail.objects.unfinished().filter(pk__in=[card.pk for card in cards])
    waiting = set(unread.values_list("pk", flat=True))
    held = held_inboxes(owners)
    times = {pk: before(kept.raw) for pk, kept in periods_among(owners.values()).items()}

    def is_over(card: RawObject, inbox_id: str) -> bool:
        time = times[inbox_id]
        return inbox_id not in held and time is not None and card.mail_at < time

    done = [card for card in cards if card.pk not in waiting]
    return [card for card in done if all(is_over(card, pk) for pk in _inboxes_of(card) if pk in owners)]


def _inboxes_of(card: RawObject) -> list[str]:
    return [card.inbox_id, *card.other_inboxes]


def _raw_entries(cards: Sequence[RawObject], inbox: Inbox, time: datetime) -> Iterator[Entry]:
    """One for each inbox that they were for."""
    for owner in _owners(cards).values():
        its = [card for card in cards if owner.pk in _inboxes_of(card)]
        about = _about(inbox, time, mails=len(its), octets=sum(card.size for card in its))
        yield Entry(Act.RAW_REMOVED, owner, owner.account_id, owner.pk, about)


def count_raw(inbox: Inbox, time: datetime, most: int | None) -> Old:
    with acting_for_everybody("raw mail may be of several accounts"):
        oldest = _old_raw(inbox, time).order_by("mail_at")[:most]
        shared = RawObject.objects.filter(pk__in=oldest.values("pk")).exclude(other_inboxes=[])
        kept = sum(len(some) - len(those_over(some, inbox)) for some in batches(shared, OTHERS))
        return Old(oldest.count(), kept)


# --- Events ---


def remove_old_events(inbox: Inbox, time: datetime) -> int:
    with _batch(inbox) as is_free:
        number = remove_events(inbox.pk, time, OTHERS) if is_free else 0
        if number:
            about = _about(inbox, time, events=number)
            record(Act.EVENTS_REMOVED, inbox, account_id=inbox.account_id, inbox_id=inbox.pk, changes=about)
    return number


def count_events(inbox: Inbox, time: datetime, most: int | None) -> Old:
    return Old(Event.objects.filter(inbox=inbox, pk__lt=first_id("evt", time)).order_by()[:most].count())


# --- Trail ---


def remove_trail(inbox: Inbox, time: datetime) -> int:
    with _batch(inbox) as is_free:
        if not is_free:
            return 0
        about = {"older_than": time.isoformat()}
        return remove_old_entries(inbox.account_id, inbox.pk, time, OTHERS, about)


def count_trail(inbox: Inbox, time: datetime, most: int | None) -> Old:
    return Old(old_entries(inbox.account_id, inbox.pk, time).order_by()[:most].count())


# In this order: what goes first is told by an entry that is younger than what goes last.
PARTS = (
    Part("content", remove_content, count_content),
    Part("raw", remove_raw, count_raw),
    Part("events", remove_old_events, count_events),
    Part("audit", remove_trail, count_trail),
)
