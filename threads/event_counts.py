"""How many events of each kind an inbox had on each day: counted with the events, so that no statistic has to look at them.

Only what becomes of mail that was sent is counted. Mail that comes in costs nothing here.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from django.db import connection
from django.db.models import QuerySet, Sum
from django.utils import timezone

from mailbot.lib.bulk import places
from threads.models import DailyEvents, Event

OPENED, CLICKED = "message.opened", "message.clicked"
# Kinds: the event's short name; what programs did in place of readers; and messages that had at least one of a reader.
KINDS = (
    *("sent", "delivered", "deferred", "bounced", "complained", "unsubscribed", "failed"),
    *("opened", "opened_by_machine", "messages_opened", "clicked", "clicked_by_machine", "messages_clicked"),
)
COUNTED = {f"message.{kind}": kind for kind in KINDS if "_" not in kind}
COLUMNS = ("account_id", "inbox_id", "day", "kind", "number")
AT_ONCE = 1000  # rows a statement

Key = tuple[str, str, str]  # account, inbox, kind


def count_events(events: Sequence[Event]) -> None:
    """Add these, which were written just now, in the caller's transaction. One statement, and none where there is nothing to count;
    with opens or clicks one more.

    The caller holds the locks of the inboxes: of two that write a first open, one is the first.
    """
    counted = [event for event in events if event.type in COUNTED]
    if not counted:
        return
    tallies: Counter[Key] = Counter((event.account_id, event.inbox_id, _kind(event)) for event in counted)
    for event in _firsts([event for event in counted if event.type in (OPENED, CLICKED)]):
        tallies[event.account_id, event.inbox_id, f"messages_{COUNTED[event.type]}"] += 1
    _add(tallies, timezone.now().date())


def _kind(event: Event) -> str:
    kind = COUNTED[event.type]
    return f"{kind}_by_machine" if event.type in (OPENED, CLICKED) and is_of_machine(event.data) else kind


def is_of_machine(data: dict[str, Any]) -> bool:
    return bool(data.get("probably_machine"))


def _firsts(events: Sequence[Event]) -> list[Event]:
    """Of opens and clicks by readers those before which their message had none."""
    by_readers = {
        (event.message_id, event.type): event
        for event in reversed(events)
        if event.message_id and not is_of_machine(event.data)
    }
    if not by_readers:
        return []
    ours = {event.pk for event in events}
    earlier = Event.objects.filter(message_id__in={key[0] for key in by_readers}, type__in=(OPENED, CLICKED))
    known = {
        (message_id, kind)
        for pk, message_id, kind, data in earlier.values_list("pk", "message_id", "type", "data")
        if pk not in ours and not is_of_machine(data)
    }
    return [event for key, event in by_readers.items() if key not in known]


def _add(tallies: Counter[Key], day: date) -> None:
    table = DailyEvents._meta.db_table
    written = connection.ops.adapt_datefield_value(day)
    rows = [(account, inbox, written, kind, number) for (account, inbox, kind), number in sorted(tallies.items())]
    for start in range(0, len(rows), AT_ONCE):
        piece = rows[start : start + AT_ONCE]
        values = ", ".join([places(len(COLUMNS))] * len(piece))
        insert = f"INSERT INTO {table} ({', '.join(COLUMNS)}) VALUES {values}"  # noqa: S608 (our names)
        add = f"ON CONFLICT (inbox_id, day, kind) DO UPDATE SET number = {table}.number + excluded.number"
        with connection.cursor() as cursor:
            cursor.execute(f"{insert} {add}", [value for row in piece for value in row])


def numbers(rows: QuerySet[DailyEvents], first: date, last: date) -> dict[date, dict[str, int]]:
    """By day and kind, from `first` to `last`, oldest first; days and kinds without any are absent."""
    found: dict[date, dict[str, int]] = {}
    days = rows.filter(day__gte=first, day__lte=last).order_by("day").values("day", "kind").annotate(all=Sum("number"))
    for row in days:
        found.setdefault(row["day"], {})[row["kind"]] = row["all"]
    return found


def total(days: Iterable[dict[str, int]]) -> dict[str, int]:
    """Of all kinds, those that did not happen too."""
    added: Counter[str] = Counter()
    for day in days:
        added.update(day)
    return {kind: added[kind] for kind in KINDS}
