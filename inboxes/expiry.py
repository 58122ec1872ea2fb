"""Ending inboxes whose time is over.

From that very second on they take no mail and send none (inboxes.routing, delivery.outbound.queue) and look deleted to everybody; the
sweep only writes it down. What it cannot do for one inbox it tells the log, does for all others, and tries again next time.
"""

import logging
from collections.abc import Callable, Iterator
from time import monotonic

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from inboxes.holds import is_held
from inboxes.models import Inbox
from inboxes.provisioning import expire_inbox, purge_inbox

log = logging.getLogger(__name__)

AT_ONCE = 50  # inboxes a transaction: they are locked meanwhile, and SQLite is
SWEEPS_FOR = 10.0  # seconds; what is left then is for the next sweep


def sweep_expired(seconds: float = SWEEPS_FOR) -> tuple[int, int]:
    """End every inbox whose time is over, then erase what those hold that were made so; how many were ended and purged.

    One under legal hold is ended like the others, since its time is over, and keeps what it holds.
    """
    ends_at = monotonic() + seconds
    now = timezone.now()
    over = Inbox.objects.exclude(status=Inbox.Status.DELETED).filter(expires_at__isnull=False, expires_at__lte=now)
    due = Inbox.objects.filter(purge_on_expiry=True, purged_at=None, expires_at__lte=now, status=Inbox.Status.DELETED)
    due = due.filter(~is_held())  # these are purged once they are released
    return _each(over, expire_inbox, AT_ONCE, ends_at), _each(due, purge_inbox, 1, ends_at)


def _each(inboxes: QuerySet[Inbox], act: Callable[[Inbox], object], at_once: int, ends_at: float) -> int:
    return sum(_together(batch, act) for batch in _batches(inboxes, at_once, ends_at))


def _batches(inboxes: QuerySet[Inbox], size: int, ends_at: float) -> Iterator[list[Inbox]]:
    """Longest over first; each once, also those for which nothing could be done. At least one batch, then while there is time."""
    rest = inboxes.order_by("expires_at", "pk")
    after = Q()
    while batch := list(rest.filter(after)[:size]):
        # In order of their ids, as whoever files mail locks them, so that neither waits for the other.
        yield sorted(batch, key=lambda inbox: inbox.pk)
        if monotonic() > ends_at:
            return
        last = batch[-1]
        after = Q(expires_at__gt=last.expires_at) | Q(expires_at=last.expires_at, pk__gt=last.pk)


@transaction.atomic
def _together(batch: list[Inbox], act: Callable[[Inbox], object]) -> int:
    return sum(_alone(inbox, act) for inbox in batch)


def _alone(inbox: Inbox, act: Callable[[Inbox], object]) -> bool:
    """Each in a savepoint of its own: what fails for one undoes nothing of the others."""
    try:
        with transaction.atomic():
            act(inbox)
    except (OperationalError, InterfaceError):  # the database is in trouble, not an inbox
        raise
    except Exception:
        log.exception("The inbox %s is over but could not be ended.", inbox.pk)
        return False
    return True
