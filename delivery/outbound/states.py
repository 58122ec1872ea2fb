"""The states of an outbound mail, written down once, and which moves there are between them."""

from enum import StrEnum


class State(StrEnum):
    PREPARING = "preparing"  # its attachments are still to be fetched
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


MOVES: dict[State, frozenset[State]] = {
    State.PREPARING: frozenset({State.QUEUED, State.FAILED, State.BLOCKED, State.CANCELLED}),
    State.QUEUED: frozenset({State.SENDING, State.CANCELLED}),
    # Back to queued only when the provider has surely not taken it: a temporary refusal.
    State.SENDING: frozenset({State.SENT, State.FAILED, State.BLOCKED, State.QUEUED, State.UNKNOWN}),
    # Settled by an event of the provider or by an operator, never by a blind retry.
    State.UNKNOWN: frozenset({State.SENT, State.FAILED, State.QUEUED}),
}
FINAL = frozenset({State.SENT, State.FAILED, State.BLOCKED, State.CANCELLED})
# What a sweep or an operator still has to look at; everything else is history, and is most of the table.
UNSETTLED = (State.QUEUED.value, State.SENDING.value, State.UNKNOWN.value, State.FAILED.value)


def can_move(old: State, new: State) -> bool:
    return new in MOVES.get(old, frozenset())
