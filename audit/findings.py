"""What a verification says, and what it may be told from outside."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from audit.models import AuditHead
from audit.signing import head_as_json


class Kind(StrEnum):
    CHANGED = "changed"
    MISSING = "missing"
    ADDED = "added"
    REORDERED = "reordered"
    HEAD = "head"  # a signed head does not follow from the leaves
    SIGNATURE = "signature"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Finding:
    """`seq` and `id` name the entry, as far as that can be known. With `until`, it is one of those from `seq` to `until` - 1."""

    kind: Kind
    what: str
    seq: int | None = None
    id: str = ""
    until: int | None = None


@dataclass(slots=True)
class Verdict:
    """Of the leaves `start` … `stop`-1 of an account. `findings` begins with the first bad entry."""

    account_id: str
    start: int
    stop: int
    size: int = 0
    root: bytes = b""
    head: AuditHead | None = None
    removed: int = 0
    replaced: int = 0
    unsealed: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.findings


@dataclass(frozen=True, slots=True)
class OutsideHead:
    """A head that somebody kept; `from_where` names him. `told` is all of it where he has more than size and root."""

    account_id: str
    size: int
    root: bytes
    from_where: str
    told: Mapping[str, Any] | None = None


def in_order(found: list[Finding]) -> list[Finding]:
    """The first bad entry first. That one of many is bad comes behind what says more closely which of them."""
    placed = [(one.seq, one.until or one.seq + 1, one) for one in found if one.seq is not None]

    def place(one: Finding) -> tuple[bool, int, int]:
        if one.seq is None:
            return True, 0, 0
        until = one.until or one.seq + 1
        within = [start for start, end, _ in placed if one.seq <= start and end <= until]
        return False, max(within), until - one.seq

    return sorted(found, key=place)


def as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "holds": verdict.holds,
        "size": verdict.size,
        "from": verdict.start,
        "to": verdict.stop,
        "removed": verdict.removed,
        "replaced": verdict.replaced,
        "unsealed": verdict.unsealed,
        "head": head_as_json(verdict.head) if verdict.head else None,
        "findings": [
            {"kind": one.kind.value, "what": one.what, "seq": one.seq, "id": one.id or None} for one in verdict.findings
        ],
    }
