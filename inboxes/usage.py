"""How much was received and sent, by inbox and day: counted with the messages, so that no question has to look at them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection
from django.db.models import QuerySet, Sum

from inboxes.models import DailyUsage
from mailbot.lib.bulk import bulk_add
from mailbot.lib.scope import acting_for_everybody

COUNTED = ("received", "sent", "recipients", "octets")
COLUMNS = ("account_id", "inbox_id", "mode", "day", *COUNTED)
KEY = ("inbox_id", "day")


@dataclass(slots=True)
class Tally:
    """What one inbox took in and sent on one day."""

    account_id: str
    inbox_id: str
    mode: str
    day: date
    received: int = 0
    sent: int = 0
    recipients: int = 0
    octets: int = 0


def add_to_usage(tallies: Iterable[Tally]) -> None:
    """Add these to what was counted before, in the caller's transaction and in one statement. Of an inbox and a day one tally.

    The caller holds the locks of the inboxes: two that add to the same rows wait for each other there, in order, and not here.
    """
    bulk_add(DailyUsage, COLUMNS, KEY, COUNTED, map(_values, tallies))


def _values(tally: Tally) -> list[Any]:
    day = connection.ops.adapt_datefield_value(tally.day)
    counted = (getattr(tally, name) for name in COUNTED)
    return [tally.account_id, tally.inbox_id, tally.mode, day, *counted]


def recipients_of_account(account_id: str, mode: str, day: date) -> int:
    """To how many recipients all inboxes of an account have sent on that day, in one mode, whatever the caller sees of them."""
    with acting_for_everybody("what the account's other inboxes sent counts, too"):
        rows = DailyUsage.objects.filter(account_id=account_id, mode=mode, day=day)
        return rows.aggregate(number=Sum("recipients"))["number"] or 0


def midnight_after(day: date) -> datetime:
    """When the counters of a day end."""
    return datetime.combine(day + timedelta(days=1), time.min, UTC)


def by_day(rows: QuerySet[DailyUsage], first: date, last: date) -> list[dict[str, Any]]:
    """Sums of each day from `first` to `last`, oldest first. Days without mail are absent."""
    days = rows.filter(day__gte=first, day__lte=last).order_by("day").values("day")
    return [dict(row) for row in days.annotate(**{f"{name}_sum": Sum(name) for name in COUNTED})]
