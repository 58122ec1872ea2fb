"""The states of an outbound mail and the moves between them, written down once. docs/sending.md draws them from here."""

from collections import defaultdict
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    PREPARING = "preparing"  # its attachments are still to be fetched
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


class Move(NamedTuple):
    """`why` is what causes it, in the words of the diagram."""

    old: State
    new: State
    why: str


TABLE: tuple[Move, ...] = (
    Move(State.PREPARING, State.QUEUED, "its attachments are fetched"),
    Move(State.PREPARING, State.FAILED, "they cannot be had"),
    Move(State.PREPARING, State.BLOCKED, "a rule of ours"),
    Move(State.PREPARING, State.CANCELLED, "somebody cancels it"),
    Move(State.QUEUED, State.SENDING, "a worker claims it, with a lease and a token"),
    Move(State.QUEUED, State.CANCELLED, "somebody cancels it"),
    Move(State.QUEUED, State.SENT, "news of an earlier try: it was taken then"),
    Move(State.SENDING, State.SENT, "the provider took it"),
    Move(State.SENDING, State.QUEUED, "surely not taken, tried again at next_attempt_at"),
    Move(State.SENDING, State.FAILED, "refused for good, or the last try"),
    Move(State.SENDING, State.BLOCKED, "a rule of ours"),
    Move(State.SENDING, State.UNKNOWN, "perhaps taken, or the lease is over"),
    Move(State.UNKNOWN, State.SENT, "the provider's news or records, or an operator"),
    Move(State.UNKNOWN, State.FAILED, "the provider's news, or an operator"),
    Move(State.UNKNOWN, State.QUEUED, "the same key, at_least_once, or an operator: again"),
)


def _by_old() -> dict[State, frozenset[State]]:
    moves: dict[State, set[State]] = defaultdict(set)
    for move in TABLE:
        moves[move.old].add(move.new)
    return {old: frozenset(new) for old, new in moves.items()}


MOVES: dict[State, frozenset[State]] = _by_old()
FINAL = frozenset(State) - MOVES.keys()
# What a sweep or an operator still has to look at; everything else is history, and is most of the table.
UNSETTLED = (State.QUEUED.value, State.SENDING.value, State.UNKNOWN.value, State.FAILED.value)


def can_move(old: State, new: State) -> bool:
    return new in MOVES.get(old, frozenset())


def diagram() -> str:
    """The table as Mermaid draws it."""
    lines = ["stateDiagram-v2", "    [*] --> queued", "    [*] --> preparing: with attachments by url"]
    lines += [f"    {move.old} --> {move.new}: {move.why}" for move in TABLE]
    lines += [f"    {state} --> [*]" for state in State if state in FINAL]
    return "\n".join(lines)
