"""Tries every slot with the victim's ids and with ids of the same kind that are nobody's, and reports where that makes a difference."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from tests.isolation.asking import Answer, ask
from tests.isolation.principals import Principal
from tests.isolation.slots import Operation, Place, Slot
from tests.isolation.traces import (
    Rows,
    Traces,
    changes,
    is_own,
    snapshot,
    snapshot_after,
    speaks_of,
    traces_of,
    written,
)
from tests.isolation.world import ID, twin

# Ids that a caller makes up himself. A victim's is as good as any.
MADE_UP = frozenset({"client_id", "Idempotency-Key"})
# Filters by a row: what is no row of the caller's has nothing.
FILTERS = frozenset({"inbox_id", "thread_id", "message_id", "actor", "query"})
OF_EACH_REQUEST = frozenset({"X-Request-Id"})


@dataclass(frozen=True, slots=True)
class Leak:
    operation: Operation
    slots: frozenset[Slot]
    what: str

    def __str__(self) -> str:
        return f"{self.operation} [{', '.join(map(str, self.slots))}]: {self.what}"


@dataclass
class Report:
    tried: set[tuple[Operation, Slot | None]] = field(default_factory=set)
    requests: int = 0
    leaks: list[Leak] = field(default_factory=list)


@contextmanager
def undone() -> Iterator[None]:
    """What is done inside never happened."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def try_everything(operations: Collection[Operation], principal: Principal) -> Report:
    """`operations` are those of the schema; the victim of the principal has used them all (world.use_everything)."""
    report, traces, before = Report(), traces_of(principal), snapshot()
    for operation in operations:
        for slots in attacks(operation):
            if any(principal.shares(slot.word) for slot in slots):
                report.tried |= {(operation, slot) for slot in slots}
                continue
            attempt = Attempt(operation, slots, principal, traces, before)
            report.leaks += (Leak(operation, slots, what) for what in attempt.findings())
            report.tried |= {(operation, slot) for slot in slots or {None}}
            report.requests += 2
    return report


def attacks(operation: Operation) -> list[frozenset[Slot]]:
    """Which slots get the victim's ids, while the other ones that are needed (of path and body) get the caller's own: each alone,
    all that are needed, these and one beside them; and none at all, where none is needed."""
    path = frozenset(operation.needed_slots)
    beside = [slot for slot in operation.slots if slot not in path]
    found = [path, *(frozenset({slot}) for slot in operation.slots), *(path | {slot} for slot in beside)]
    return list(dict.fromkeys(found))


@dataclass
class Attempt:
    operation: Operation
    slots: frozenset[Slot]
    principal: Principal
    traces: Traces
    before: Rows

    def findings(self) -> Iterator[str]:
        """What is wrong with it: nothing, one hopes."""
        victims = {slot: self.principal.victim.value(self.operation, slot) for slot in self.slots}
        with undone():
            written_before = written()
            answer = self._ask(victims)
            after = snapshot_after(self.before, written_before)
        nobodys = {slot: twin(value) for slot, value in victims.items()}
        with undone():
            expected = self._ask(nobodys)
        yield from self._contract(answer)
        yield from self._difference(Seen.of(answer, victims.values()), Seen.of(expected, nobodys.values()))
        yield from self._shown(answer, victims.values())
        yield from self._changed(after, victims.values())

    def _ask(self, values: dict[Slot, str]) -> Answer:
        given = {**self.principal.own.needed_values(self.operation), **values}
        return ask(self.operation, given, self.principal.authorization(self.operation))

    def _contract(self, answer: Answer) -> Iterator[str]:
        refused = self.principal.refused_with if self.operation.right else None
        names = {slot.word for slot in self.slots if slot.place in (Place.PATH, Place.BODY)}
        names -= {"cursor", "query", *MADE_UP}
        filters = {slot.word for slot in self.slots} & FILTERS - names
        if refused or names:
            if answer.status != (refused or 404):
                yield f"answers {answer.status} and not {refused or 404}"
        elif filters and answer.is_success and answer.lists_something:
            yield f"lists something by a {filters} that is not the caller's"

    def _difference(self, seen: "Seen", expected: "Seen") -> Iterator[str]:
        changes_something = self.operation.method != "GET" and seen.status < 300
        if changes_something:  # ids and times are new each time
            seen, expected = seen.shape(), expected.shape()
        if seen != expected:
            yield f"answers otherwise than to an id of nobody: {seen}\n{expected}"[:2000]

    def _shown(self, answer: Answer, sent: Collection[str]) -> Iterator[str]:
        text = _without(answer.content.decode(errors="replace"), sent)
        if shown := self.traces.shown_in(text):
            yield f"shows {shown}"

    def _changed(self, after: Rows, sent: Collection[str]) -> Iterator[str]:
        made_up = [value for value in sent if not ID.fullmatch(value)]
        for key, was, now in changes(self.before, after):
            row = was or now or {}
            if key in self.traces.keys or (was is not None and not is_own(self.principal, key, was)):
                yield f"changes {key}"
            elif was is None and self._is_victims(row):
                yield f"adds {key} to what the victim has"
            elif was is None and (shown := self.traces.shown_in(_without(speaks_of(row), made_up))):
                yield f"adds {key}, which speaks of {shown}"

    def _is_victims(self, row: dict[str, Any]) -> bool:
        victim = self.principal.victim
        if self.principal.is_of_the_same_account:
            return bool(row.get("inbox_id") == victim.inbox.pk)
        return bool(row.get("account_id") == victim.owner.account.pk)


@dataclass(frozen=True)
class Seen:
    """What a caller sees of an answer, apart from what he gave himself and the id of the request."""

    status: int
    headers: dict[str, str]
    body: Any

    @classmethod
    def of(cls, answer: Answer, sent: Collection[str]) -> "Seen":
        body: Any = _without(answer.content.decode(errors="replace"), sent)
        if answer.headers.get("Content-Type", "").partition(";")[0] == "application/json":
            body = json.loads(body)
            body.get("error", {}).pop("request_id", None)
        headers = {name: value for name, value in answer.headers.items() if name not in OF_EACH_REQUEST}
        return cls(answer.status, headers, body)

    def shape(self) -> "Seen":
        headers = {name: value for name, value in self.headers.items() if name != "Content-Length"}
        return Seen(self.status, headers, _shape(self.body))


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    return [_shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def _without(text: str, sent: Collection[str]) -> str:
    for value in sorted(sent, key=len, reverse=True):
        text = text.replace(value, "…")
    return text
