"""The sweep of retention classes: inbox by inbox, for so many seconds, and the next time it goes on where it stopped.

An inbox that was looked at has its turn again hours later; one that was not finished goes behind the others that are due. Whoever is killed
in between leaves its claim, which is over after some minutes. What is held is passed over; once it is released its turn comes.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from time import monotonic
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError
from django.db.models import QuerySet
from django.utils import timezone

from delivery.retention_parts import PARTS, times_of
from inboxes.holds import held_among, is_held
from inboxes.models import Inbox, LegalHold, RetentionClass
from inboxes.retention_classes import class_of, has_class, periods

log = logging.getLogger(__name__)

EVERY = timedelta(hours=6)
CLAIM = timedelta(minutes=5)
SWEEPS_FOR = 20.0  # seconds
INBOX_FOR = 5.0  # of them for one inbox, while others are due


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
    next_at = timezone.now() + (EVERY if is_finished else timedelta())
    # Unless its class was changed meanwhile, which makes it due.
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


# --- What the next one would do ---


class Preview(NamedTuple):
    inbox: Inbox
    retention: RetentionClass | None
    over: dict[str, int]
    holds: list[LegalHold]

    def words(self) -> str:
        told = ", ".join(f"{number} {name}" for name, number in self.over.items() if number) or "nothing"
        return f"{told} (held: {', '.join(hold.matter for hold in self.holds)})" if self.holds else told


def preview(inbox: Inbox) -> Preview:
    """What is over of it now, by part. Where a hold is in force, none of it goes."""
    retention = class_of(inbox)
    times = times_of(inbox, periods(retention))
    over = {part.name: part.count(inbox, times[part.name]) for part in PARTS if part.name in times}
    return Preview(inbox, retention, over, held_among(inbox.account_id, [inbox.pk]).get(inbox.pk, []))


def previews(**narrow: Any) -> Iterator[Preview]:
    """Of all inboxes that a class counts for, or of some of them."""
    for inbox in Inbox.objects.filter(has_class(), **narrow).order_by("pk").iterator(chunk_size=500):
        yield preview(inbox)
