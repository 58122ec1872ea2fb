"""The sweep of retention classes: inbox by inbox, for so many seconds, and the next time it goes on where it stopped.

An inbox that was looked at has its turn again hours later; one that was not finished goes behind the others that are due. Whoever is killed
in between leaves its claim, which is over after some minutes. What is held is passed over; once it is released its turn comes.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError
from django.db.models import QuerySet
from django.utils import timezone

from delivery.retention_parts import PARTS, Part, times_of
from inboxes.holds import held_among, is_held, refuse_if_held
from inboxes.models import Inbox, LegalHold, RetentionClass
from inboxes.retention_classes import Periods, class_of, has_class, periods
from mailbot.lib.scope import acting_for_everybody

log = logging.getLogger(__name__)

EVERY = timedelta(hours=6)
CLAIM = timedelta(minutes=5)
SWEEPS_FOR = 20.0  # seconds
INBOX_FOR = 5.0  # of them for one inbox, while others are due
MOST_COUNTED = 10_000  # of a part, where somebody waits for the answer


def sweep(seconds: float = SWEEPS_FOR) -> Counter[str]:
    """Remove what is over; how many of what, by part, and under `inboxes` how many were looked at."""
    ends_at = monotonic() + seconds
    done: Counter[str] = Counter()
    if not RetentionClass.objects.exists():
        return done
    while inbox := _claimed():
        done["inboxes"] += 1
        _sweep_inbox(inbox, done, min(ends_at, monotonic() + INBOX_FOR))
        if monotonic() > ends_at:
            break
    return done


def due() -> QuerySet[Inbox]:
    free = Inbox.objects.filter(has_class(), ~is_held(), retention_due_at__lte=timezone.now())
    return free.order_by("retention_due_at", "pk")


def _claimed() -> Inbox | None:
    """The one that waits longest; nobody else takes it for a while."""
    while inbox := due().first():
        claim = timezone.now() + CLAIM
        if Inbox.objects.filter(pk=inbox.pk, retention_due_at=inbox.retention_due_at).update(retention_due_at=claim):
            inbox.retention_due_at = claim
            return inbox
    return None


def _sweep_inbox(inbox: Inbox, done: Counter[str], ends_at: float) -> None:
    try:
        is_finished = _remove(inbox, done, ends_at)
    except (OperationalError, InterfaceError):  # the database is in trouble, not an inbox
        raise
    except Exception:
        log.exception("What is over of the inbox %s could not be removed.", inbox.pk)
        is_finished = True  # the others first; its turn comes again
    _put_back(inbox, is_finished)


def _put_back(inbox: Inbox, is_finished: bool) -> None:
    """Unless its class was changed meanwhile, which makes it due."""
    next_at = timezone.now() + (EVERY if is_finished else timedelta())
    Inbox.objects.filter(pk=inbox.pk, retention_due_at=inbox.retention_due_at).update(retention_due_at=next_at)


def _remove(inbox: Inbox, done: Counter[str], ends_at: float) -> bool:
    """Whether all that is over is gone."""
    times = times_of(inbox)
    for part in PARTS:
        if part.name not in times:
            continue
        while number := part.remove(inbox, times[part.name]):
            done[part.name] += number
            if monotonic() > ends_at:
                return False
    return True


# --- One inbox, at once ---


class Removed(NamedTuple):
    by_part: dict[str, int]
    is_all: bool  # else the sweep goes on by itself


def remove_now(inbox: Inbox, seconds: float = INBOX_FOR) -> Removed:
    """What is over of this inbox, before its turn comes. Raises Held, see `refusals_stay`. Without a class nothing goes."""
    if class_of(inbox) is None:
        return Removed({}, is_all=True)
    refuse_if_held(inbox.account_id, [inbox.pk], "remove what is over")
    done: Counter[str] = Counter()
    with acting_for_everybody("raw mail may be of several accounts, and the tree is the sealer's"):
        inbox.retention_due_at = timezone.now() + CLAIM
        Inbox.objects.filter(pk=inbox.pk).update(retention_due_at=inbox.retention_due_at)
        is_all = _remove(inbox, done, monotonic() + seconds)
        _put_back(inbox, is_all)
    return Removed(dict(done), is_all)


# --- What the next one would do ---


@dataclass(frozen=True, slots=True)
class Over:
    """How much of a part is over; there may be more where it is not counted further."""

    count: int = 0
    is_more: bool = False

    def __str__(self) -> str:
        return f"{self.count:,}{'+' if self.is_more else ''}"


class Preview(NamedTuple):
    inbox: Inbox
    retention: RetentionClass | None
    periods: Periods
    over: dict[str, Over]
    holds: list[LegalHold]

    @property
    def source(self) -> str:
        """Whose class it is: inbox or account; server: there is none."""
        if self.retention is None:
            return "server"
        return "inbox" if self.inbox.retention_class_id else "account"

    @property
    def next_at(self) -> datetime | None:
        """When the sweep looks at the inbox; None: not as long as it has no class, or is held."""
        return self.inbox.retention_due_at if self.retention and not self.holds else None

    @property
    def is_anything_over(self) -> bool:
        return any(over.count or over.is_more for over in self.over.values())

    @property
    def may_go(self) -> bool:
        """Whether removing it now would remove something."""
        return self.is_anything_over and self.retention is not None and not self.holds

    def words(self) -> str:
        told = ", ".join(f"{over} {name}" for name, over in self.over.items() if over.count) or "nothing"
        return f"{told} (held: {', '.join(hold.matter for hold in self.holds)})" if self.holds else told


def preview(inbox: Inbox, most: int | None = MOST_COUNTED) -> Preview:
    """What is over of it now, by part, of which no more than `most` rows are looked at (None: all). Where a hold is in force, none of it
    goes."""
    retention = class_of(inbox)
    kept = periods(retention)
    times = times_of(inbox, kept)
    over = {part.name: _over(part, inbox, times.get(part.name), most) for part in PARTS}
    return Preview(inbox, retention, kept, over, held_among(inbox.account_id, [inbox.pk]).get(inbox.pk, []))


def _over(part: Part, inbox: Inbox, time: datetime | None, most: int | None) -> Over:
    if time is None:
        return Over()
    old = part.count(inbox, time, None if most is None else most + 1)
    is_more = most is not None and old.rows > most
    return Over(old.rows - is_more - old.stay, is_more)


def previews(**narrow: Any) -> Iterator[Preview]:
    """Of all inboxes that a class counts for, or of some of them; counted to the last."""
    for inbox in Inbox.objects.filter(has_class(), **narrow).order_by("pk").iterator(chunk_size=500):
        yield preview(inbox, most=None)
