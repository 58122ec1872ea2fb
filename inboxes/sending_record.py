"""What became of the mail of each inbox, counted as it is heard, so that no question has to look at the mail.

Each inbox has rows of its own, so that no other one waits for it; what is said of a domain or a provider is the sum over its inboxes.
A row is of five minutes; of those that are older than two hours one is left for each hour, and after eight days none.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Case, Count, F, Max, Q, QuerySet, Sum, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from inboxes.models import SendingRecord
from mailbot.lib.bulk import bulk_add

COUNTED = ("sent", "delivered", "deferred", "bounced", "complained")
KEY = ("inbox_id", "starts_at", "provider_id")
COLUMNS = ("account_id", *KEY, *COUNTED)
MINUTES = timedelta(minutes=5)
HOUR = timedelta(hours=1)
WINDOWS = {"1h": HOUR, "24h": timedelta(hours=24), "7d": timedelta(days=7)}
FOLDED_AFTER = timedelta(hours=2)
KEPT_FOR = timedelta(days=8)
FOLDED_AT_ONCE, REMOVED_AT_ONCE = 200, 5000


class Figures(NamedTuple):
    """Recipients."""

    sent: int = 0
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    complained: int = 0

    @property
    def bounce_rate(self) -> float:
        return _rate(self.bounced, self.sent)

    @property
    def complaint_rate(self) -> float:
        return _rate(self.complained, self.sent)


def _rate(number: int, sent: int) -> float:
    """What is heard now may be of mail that was sent before: at most 1."""
    return min(number / sent, 1.0) if sent else 0.0


@dataclass(slots=True)
class Tally:
    """What is to be added to one row."""

    account_id: str
    inbox_id: str
    provider_id: str
    starts_at: datetime
    sent: int = 0
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    complained: int = 0


# --- Counting ---


def row_start(now: datetime, record_from: datetime | None, handed_over_at: datetime | None) -> datetime:
    """Where the row begins to which news belong that are heard now.

    At `record_from` a new one begins, and what is heard of mail from before that goes into one before it: a breaker that was reset then
    goes by none of it.
    """
    begun = _floor(now, MINUTES)
    if record_from is None or record_from > now:
        return begun
    if handed_over_at is not None and handed_over_at < record_from:
        return min(begun, _floor(record_from - timedelta(microseconds=1), MINUTES))
    return max(begun, record_from)


def _floor(time: datetime, step: timedelta) -> datetime:
    return time - (time - datetime.min.replace(tzinfo=time.tzinfo)) % step


def add_to_record(tallies: Collection[Tally]) -> None:
    """Add these, in the caller's transaction and in one statement; of each inbox, start and provider one. The caller holds the locks of
    the inboxes."""
    bulk_add(SendingRecord, COLUMNS, KEY, COUNTED, map(_values, tallies))


def _values(tally: Tally) -> list[Any]:
    starts_at = connection.ops.adapt_datetimefield_value(tally.starts_at)
    counted = (getattr(tally, name) for name in COUNTED)
    return [tally.account_id, tally.inbox_id, starts_at, tally.provider_id, *counted]


# --- Asking ---


def figures_of(inbox_ids: Collection[str], now: datetime | None = None) -> dict[str, dict[str, Figures]]:
    """By inbox and window; inboxes that sent nothing in a week are absent. One query."""
    now = now or timezone.now()
    rows = SendingRecord.objects.filter(inbox_id__in=inbox_ids, starts_at__gt=now - WINDOWS["7d"])
    sums = {
        f"{name}_{window}": Sum(name, filter=Q(starts_at__gt=now - length))
        for window, length in WINDOWS.items()
        for name in COUNTED
    }
    found: Any = rows.values("inbox_id").order_by().annotate(**sums)
    return {
        row["inbox_id"]: {window: Figures(*(row[f"{name}_{window}"] or 0 for name in COUNTED)) for window in WINDOWS}
        for row in found
    }


def since_reset(rows: QuerySet[SendingRecord], since: datetime) -> QuerySet[SendingRecord]:
    """Those by which a breaker goes: not before `since`, nor before the inbox was last reset."""
    reset = Q(inbox__record_from=None) | Q(inbox__record_from__lte=F("starts_at"))
    return rows.filter(reset, starts_at__gte=since)


def summed(rows: QuerySet[SendingRecord]) -> Figures:
    sums = rows.aggregate(**{f"{name}_sum": Coalesce(Sum(name), 0) for name in COUNTED})
    return Figures(*(sums[f"{name}_sum"] for name in COUNTED))


def summed_by(rows: QuerySet[SendingRecord], *names: str) -> dict[tuple[Any, ...], Figures]:
    """The same for each value of these columns."""
    sums = rows.order_by().values_list(*names).annotate(**{f"{name}_sum": Sum(name) for name in COUNTED})
    return {tuple(row[: len(names)]): Figures(*row[len(names) :]) for row in sums}


def last_of(rows: QuerySet[SendingRecord]) -> datetime | None:
    """When the last of these rows begins."""
    last: datetime | None = rows.aggregate(last=Max("starts_at"))["last"]
    return last


# --- Sweeping ---


def sweep(now: datetime | None = None) -> None:
    """Make one row of each hour that is over, and remove what is of no use to anybody."""
    now = now or timezone.now()
    while _fold(_floor(now - FOLDED_AFTER, HOUR) - HOUR):
        pass
    old = SendingRecord.objects.filter(starts_at__lt=now - KEPT_FOR)
    while SendingRecord.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:REMOVED_AT_ONCE])).delete()[0]:
        pass


@transaction.atomic
def _fold(hour: datetime) -> int:
    """Some inboxes' rows of this hour; how many inboxes. The first row takes up those behind it, unless its inbox was reset in between."""
    is_after = Case(When(inbox__record_from__lte=F("starts_at"), then=True), default=False)
    rows = SendingRecord.objects.filter(starts_at__gte=hour, starts_at__lt=hour + HOUR).annotate(is_after=is_after)
    groups = rows.order_by().values("inbox_id", "provider_id", "is_after").annotate(number=Count("pk"))
    chosen = set(groups.filter(number__gt=1).values_list("inbox_id", flat=True)[:FOLDED_AT_ONCE])
    locked = rows.filter(inbox_id__in=chosen).select_for_update(of=("self",)).order_by("pk")
    for first, *others in _grouped(locked):
        for name in COUNTED:
            setattr(first, name, sum(getattr(row, name) for row in (first, *others)))
        first.save(update_fields=COUNTED)
        SendingRecord.objects.filter(pk__in=[row.pk for row in others]).delete()
    return len(chosen)


def _grouped(rows: Iterable[Any]) -> Iterable[list[Any]]:
    """Those that become one row, the earliest first."""
    groups: dict[tuple[str, str, bool], list[Any]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.starts_at):
        groups[row.inbox_id, row.provider_id, row.is_after].append(row)
    return groups.values()
