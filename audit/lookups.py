"""Looking for entries so that PostgreSQL knows in which months to look (audit.months): by their time, and by their keys.

It keeps them by their ids, which begin with the time. Where a statement says nothing of ids, each month is looked into; that finds
the same and takes longer, the more months there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from audit.leaves import COLUMNS, Told, told_of
from audit.models import AuditEntry
from mailbot.lib.ids import first_id

# The id of an entry is made of its time. Those of before 0.9.0 are of a second look at the clock, which never goes back within a process:
# where it was ahead and was set right, ids stayed ahead of their times until then.
APART = timedelta(days=31)
_FIRST, _LAST = datetime(1970, 3, 1, tzinfo=UTC), datetime(9999, 11, 1, tzinfo=UTC)  # beyond them an id says no time
NEAR = timedelta(days=31)
FEW = 100  # keys for which it is not worth to ask first where they are


def within(since: datetime | None = None, until: datetime | None = None) -> Q:
    """Entries from `since` to before `until`."""
    wanted = Q()
    if since is not None:
        wanted &= Q(timestamp__gte=since)
        if _narrows(since):
            wanted &= Q(public_id__gte=first_id("audit", since - APART))
    if until is not None:
        wanted &= Q(timestamp__lt=until)
        if _narrows(until):
            wanted &= Q(public_id__lt=first_id("audit", until + APART))
    return wanted


def newest(until: datetime | None = None) -> Q | None:
    """Where the newest entries are, up to `until`, if there are enough: in the last month. None: it makes no difference here."""
    if not _narrows(until or timezone.now()):
        return None
    if until is None:  # the clock of who wrote one may be ahead of ours
        return within(since=timezone.now() - NEAR)
    return within(until - NEAR, until + timedelta(seconds=1))


def _narrows(moment: datetime) -> bool:
    return connection.vendor == "postgresql" and _FIRST < moment < _LAST


def entries_by_key(keys: Iterable[int]) -> Mapping[int, Told]:
    return {row[0]: told_of(row) for row in rows_of(list(keys), *COLUMNS)}


def rows_of(keys: Sequence[int], *columns: str) -> list[tuple[Any, ...]]:
    """These columns, the first of which is the key, of the entries that are there; in no order. Two of a key only where the database was
    tampered with.

    Keys that are asked for together mostly lie together, in the months between the first and the last of them. In the others it is only
    looked what lies between the keys, of which there is little: a long transaction writes late.
    """
    if connection.vendor != "postgresql" or len(keys) <= FEW:
        return _rows(AuditEntry.objects.filter(pk__in=keys), columns)
    first, last = min(keys), max(keys)
    ends = sorted(AuditEntry.objects.filter(pk__in=[first, last]).order_by().values_list("public_id", flat=True))
    near = Q(public_id__gte=ends[0], public_id__lte=ends[-1]) if ends else Q(pk=None)
    # Not by the index of keys, which would be asked for each of them in each month.
    apart = AuditEntry.objects.filter(~near, pk__gte=first, pk__lte=last).alias(key=F("pk") + 0).filter(key__in=keys)
    return _rows(AuditEntry.objects.filter(near, pk__in=keys), columns) + _rows(apart, columns)


def _rows(entries: QuerySet[AuditEntry], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(entries.order_by().values_list(*columns))
