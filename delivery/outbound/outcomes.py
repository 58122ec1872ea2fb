"""What became of one try to hand a mail over, and what is heard of it afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from audit.actors import Actor
from audit.record import Act
from delivery.outbound.states import State
from threads.events import EventType


class Result(StrEnum):
    SENT = "sent"
    TEMPORARY = "temporary"  # surely not taken; try again
    PERMANENT = "permanent"  # surely not taken; trying again would not help
    UNKNOWN = "unknown"  # may have been taken: never tried again blindly
    BLOCKED = "blocked"  # refused by a rule of ours before anything was handed over


STATE_AFTER: dict[Result, State] = {
    Result.SENT: State.SENT,
    Result.TEMPORARY: State.QUEUED,
    Result.PERMANENT: State.FAILED,
    Result.UNKNOWN: State.UNKNOWN,
    Result.BLOCKED: State.BLOCKED,
}
EVENT_AFTER: dict[State, EventType] = {
    State.SENT: EventType.MESSAGE_SENT,
    State.QUEUED: EventType.MESSAGE_DEFERRED,
    State.FAILED: EventType.MESSAGE_FAILED,
    State.UNKNOWN: EventType.MESSAGE_UNKNOWN,
    State.BLOCKED: EventType.MESSAGE_BLOCKED,
}
ACT_AFTER: dict[State, Act] = {
    State.SENT: Act.MESSAGE_SENT,
    State.FAILED: Act.MESSAGE_FAILED,
    State.BLOCKED: Act.MESSAGE_FAILED,
    State.UNKNOWN: Act.MESSAGE_UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Report:
    """News of one recipient, from a provider or from the sandbox."""

    event: EventType
    recipient: str
    reason: str = ""
    occurred_at: datetime | None = None  # None: now
    data: Mapping[str, Any] = field(default_factory=dict)
    told_by: Actor | None = None  # who is to be named for what follows from it; None: who acts


@dataclass(frozen=True, slots=True)
class Outcome:
    """`wait`: how long the provider asked to be left alone (Retry-After); `for_all`: with everything, and not with this mail alone."""

    result: Result
    detail: str = ""
    provider_message_id: str = ""
    reports: tuple[Report, ...] = ()
    wait: timedelta | None = None
    for_all: bool = False

    @classmethod
    def sent(cls, provider_message_id: str = "", reports: tuple[Report, ...] = ()) -> "Outcome":
        return cls(Result.SENT, provider_message_id=provider_message_id, reports=reports)
