"""Looking for entries so that PostgreSQL knows in which months to look (audit.months): by their time, and by their keys.

It keeps them by their ids, which begin with the time. Where a statement says nothing of ids, each month is looked into; that finds
the same and takes longer, the more months there are.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Q

from audit.models import AuditEntry
from mailbot.lib.ids import first_id

# Entries of before 0.9.0 have ids of a second look at the clock, which may have been set between the two.
APART = timedelta(days=1)
_FIRST, _LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)  # no id is of before, or of later
FEW = 100  # keys for which it is not worth to ask first where they are


def within(since: datetime | None = None, until: datetime | None = None) -> Q:
    """Entries from `since` to before `until`."""
    wanted = Q()
    if since is not None:
        wanted &= Q(timestamp__gte=since)
        if since > _FIRST:
            wanted &= Q(public_id__gte=first_id("audit", since - APART))
    if until is not None:
        wanted &= Q(timestamp__lt=until)
        if until < _LAST:
            wanted &= Q(public_id__lt=first_id("audit", until + APART))
    return wanted


def rows_of(keys: Sequence[int], *columns: str) -> list[tuple[Any, ...]]:
    """These columns, the first of which is the key, of the entries that are there; in no order.

    Keys that are asked for together mostly lie together: in the months between the first and the last of them. Only what is not found
    there is looked for everywhere.
    """
    if connection.vendor != "postgresql" or len(keys) <= FEW:
        return _rows(Q(pk__in=keys), columns)
    ends = AuditEntry.objects.filter(pk__in=[min(keys), max(keys)]).order_by().values_list("public_id", flat=True)
    near = sorted(ends)
    if not near:
        return _rows(Q(pk__in=keys), columns)
    rows = _rows(Q(pk__in=keys, public_id__gte=near[0], public_id__lte=near[-1]), columns)
    found = {row[0] for row in rows}
    missing = [key for key in keys if key not in found]
    return rows + _rows(Q(pk__in=missing), columns) if missing else rows


def _rows(wanted: Q, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(AuditEntry.objects.filter(wanted).order_by().values_list(*columns))
