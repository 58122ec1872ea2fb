"""What a check of deliverability says: how it stands, why, and what mends it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    PASS = "pass"  # noqa: S105 (no password)
    WARN = "warn"  # mail goes out, and some of it may not arrive
    FAIL = "fail"
    UNKNOWN = "unknown"  # nobody can tell, at least not now


# How much of a check's weight counts.
SHARE = {Standing.PASS: 1.0, Standing.WARN: 0.5, Standing.UNKNOWN: 0.5, Standing.FAIL: 0.0}


@dataclass(frozen=True, slots=True)
class Check:
    """`name` is of a closed list (WEIGHTS). `fix` is empty where there is nothing to mend."""

    name: str
    status: Standing
    reason: str
    fix: str = ""


# Of 100 together, where all are asked: proofs of identity first, since without them large receivers refuse mail unread.
WEIGHTS = {"spf": 20, "dkim": 20, "dmarc": 15, "mx": 5, "provider": 15, "reputation": 15, "content": 10}


def score_of(checks: Iterable[Check]) -> int:
    """0 to 100: of the weights of what was asked, the share that holds."""
    asked = [(WEIGHTS[check.name], SHARE[check.status]) for check in checks]
    total = sum(weight for weight, _ in asked)
    return round(100 * sum(weight * share for weight, share in asked) / total) if total else 0
