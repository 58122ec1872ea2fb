"""The trail of one inbox as people read it: a page of it, what things in it are called, and how much there is by day and actor.

Nothing here takes longer because the trail is long: a page looks through so many entries for those that are wanted, counting stops at so
many, and both say it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import TruncDate

from audit.lookups import within
from audit.models import AuditEntry
from audit.sentences import GROUP_NAMES, Group, acts_of, groups
from mailbot.api.errors import ApiError
from mailbot.api.pagination import behind, decoded, encoded

ORDER = ("-timestamp", "-public_id")
PAGE = 50
MOST_LOOKED_THROUGH = 100_000  # entries for a page, where only some are wanted
MOST_COUNTED = 50_000  # entries for the figures
# Entries that say what a message is called, and are there for each.
NAMING = ["message.received", "message.queued", "message.rejected", "message.report_received"]


class Actor(NamedTuple):
    """`name` is the newest that the trail knows."""

    kind: str
    id: str
    name: str

    @property
    def value(self) -> str:
        """How a form names him."""
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries. `mode`: of the account's own entries those of this mode are shown, and those of none."""

    account_id: str
    inbox_id: str
    mode: str
    since: datetime
    until: datetime
    actor: str = ""  # Actor.value
    kinds: tuple[str, ...] = ()  # of sentences.Group; none: all
    with_account: bool = False  # also what concerns the account as a whole

    @property
    def is_narrow(self) -> bool:
        return bool(self.actor or self.kinds)

    def lanes(self) -> list[QuerySet[AuditEntry]]:
        """One for each begin of the index, which has them in order."""
        period = within(self.since, self.until) & Q(account_id=self.account_id)
        lanes = [AuditEntry.objects.filter(period, inbox_id=self.inbox_id)]
        if self.with_account:
            lanes.append(AuditEntry.objects.filter(period, inbox_id="", mode__in=["", self.mode]))
        return [lane.order_by(*ORDER) for lane in lanes]

    def narrowed(self, rows: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        if self.kinds:
            rows = rows.filter(act__in=acts_of(self.kinds))
        if self.actor:
            kind, _, id_ = self.actor.partition(":")
            rows = rows.filter(actor_kind=kind, actor_id=id_)
        return rows


@dataclass(slots=True)
class TimelinePage:
    """`cut`: so many entries were looked through and the page is not full; it goes on behind."""

    entries: list[AuditEntry] = field(default_factory=list)
    next_cursor: str = ""
    cut: bool = False


class _Place(NamedTuple):
    timestamp: datetime
    public_id: str


def page_of(wanted: Wanted, cursor: str = "", size: int = PAGE) -> TimelinePage:
    """Newest first. A cursor that is none begins anew."""
    after = _read(cursor)
    found: list[AuditEntry] = []
    ends: list[_Place] = []
    for lane in wanted.lanes():
        if after:
            lane = lane.filter(behind(list(after), ORDER))
        if wanted.is_narrow and (end := _place_at(lane, MOST_LOOKED_THROUGH)):
            ends.append(end)
            lane = lane.filter(_not_behind(end))
        found += wanted.narrowed(lane)[: size + 1]
    end = max(ends, default=None)
    shown = sorted((entry for entry in found if end is None or _place(entry) >= end), key=_place, reverse=True)
    if len(shown) > size:
        return TimelinePage(shown[:size], encoded(shown[size - 1], ORDER))
    return TimelinePage(shown, _encoded(end), True) if end else TimelinePage(shown)


def _place(entry: AuditEntry) -> _Place:
    return _Place(entry.timestamp, str(entry.public_id))


def _place_at(rows: QuerySet[AuditEntry], number: int) -> _Place | None:
    found = rows.values_list("timestamp", "public_id")[number : number + 1]
    return next((_Place(*row) for row in found), None)


def _not_behind(place: _Place) -> Q:
    same = Q(timestamp=place.timestamp, public_id__gte=place.public_id)
    return Q(timestamp__gte=place.timestamp) & (Q(timestamp__gt=place.timestamp) | same)


def _encoded(place: _Place) -> str:
    return encoded(AuditEntry(timestamp=place.timestamp, public_id=place.public_id), ORDER)


def _read(cursor: str) -> _Place | None:
    try:
        return _Place(*decoded(cursor, ORDER, AuditEntry)) if cursor else None
    except ApiError:
        return None


# --- What things are called --------------------------------------------------------------------------------------------


def names_in(entries: Iterable[AuditEntry], account_id: str) -> dict[str, str]:
    """The subjects of messages that are named by their ids only, as the trail told them when they came or were written."""
    wanted = {id_ for entry in entries for id_ in _messages_of(entry)}
    rows = AuditEntry.objects.filter(account_id=account_id, object_pk__in=wanted, act__in=NAMING)
    return dict(rows.order_by().values_list("object_pk", "object_repr")) if wanted else {}


def _messages_of(entry: AuditEntry) -> list[str]:
    told: Mapping[str, Any] = entry.changes if isinstance(entry.changes, dict) else {}
    messages = told.get("messages")
    named = [entry.object_pk] if entry.object_type == "message" and not entry.object_repr else []
    named += [str(messages[0])] if isinstance(messages, list) and messages else []
    return [*named, str(told["message"])] if told.get("message") else named


# --- Figures -----------------------------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """So many entries of one day, actor and kind."""

    day: date
    actor: Actor
    kind: Group | None
    number: int


@dataclass(slots=True)
class Figures:
    """`since` is set where counting stopped: older entries are not in it."""

    cells: list[Cell]
    actors: list[Actor]  # of all of them, whoever is chosen; the busiest first
    since: datetime | None = None

    @property
    def total(self) -> int:
        return sum(cell.number for cell in self.cells)

    def by_actor(self) -> list[tuple[Actor, int]]:
        return self._summed(lambda cell: cell.actor).most_common()

    def by_day(self) -> dict[date, Counter[Actor]]:
        days: dict[date, Counter[Actor]] = {}
        for cell in self.cells:
            days.setdefault(cell.day, Counter())[cell.actor] += cell.number
        return days

    def by_kind(self) -> list[tuple[str, int]]:
        counted = self._summed(lambda cell: cell.kind)
        return [(GROUP_NAMES[kind], counted[kind]) for kind in Group if counted[kind]]

    def kinds_of(self, actor: Actor) -> list[tuple[str, int]]:
        return Figures([cell for cell in self.cells if cell.actor == actor], []).by_kind()

    def _summed(self, key: Any) -> Counter[Any]:
        counted: Counter[Any] = Counter()
        for cell in self.cells:
            counted[key(cell)] += cell.number
        return counted


def figures_of(wanted: Wanted) -> Figures:
    """Of the entries of the period, the newest MOST_COUNTED at most."""
    lanes = wanted.lanes()
    end = max((place for lane in lanes if (place := _place_at(lane, MOST_COUNTED))), default=None)
    rows = [row for lane in lanes for row in _counted(lane.filter(_not_behind(end)) if end else lane)]
    actors = _actors(rows)
    cells = [
        Cell(row["day"], actors[row["actor_kind"], row["actor_id"]], groups().get(row["act"]), row["number"])
        for row in rows
    ]
    everybody = Figures(cells, [])
    chosen = [cell for cell in cells if _is_wanted(cell, wanted)]
    return Figures(chosen, [actor for actor, _ in everybody.by_actor()], end.timestamp if end else None)


def _counted(rows: QuerySet[AuditEntry]) -> Sequence[dict[str, Any]]:
    grouped = rows.order_by().annotate(day=TruncDate("timestamp"))
    return list(grouped.values("day", "actor_kind", "actor_id", "actor_name", "act").annotate(number=Count("pk")))


def _actors(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], Actor]:
    """One for each kind and id, called as on his last day."""
    by_day = sorted(rows, key=lambda row: row["day"])
    return {
        (row["actor_kind"], row["actor_id"]): Actor(row["actor_kind"], row["actor_id"], row["actor_name"])
        for row in by_day
    }


def _is_wanted(cell: Cell, wanted: Wanted) -> bool:
    is_kind = not wanted.kinds or (cell.kind is not None and cell.kind.value in wanted.kinds)
    return is_kind and (not wanted.actor or cell.actor.value == wanted.actor)
