"""Entries of the trail about the trail: what was removed from it, and which values were replaced. They say it to every verification.

trail.removed   {"reason": …, "removed": [[first seq, last seq], …]}
trail.replaced  {"reason": …, "replaced": [[seq, name of the field, commitment to the new value], …]}
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from audit.leaves import Salts, Told, commitment
from audit.models import AuditEntry

REMOVED, REPLACED = "trail.removed", "trail.replaced"
RECORDS = (REMOVED, REPLACED)  # the acts of which nothing may be replaced


@dataclass(frozen=True, slots=True)
class Records:
    removed: list[tuple[int, int]]  # in order, and none begins in another
    replaced: frozenset[tuple[int, str, str]]

    def removes(self, seq: int) -> bool:
        at = bisect_right(self.removed, (seq, float("inf"))) - 1
        return at >= 0 and self.removed[at][0] <= seq <= self.removed[at][1]

    def unsaid(self, seq: int, told: Told, salts: Salts) -> list[str]:
        """Which of the replaced fields are not as an entry says that they are now."""
        return [
            name
            for name, one in salts.replaced.items()
            if (seq, name, commitment(one.salt, told.personal.get(name)).hex()) not in self.replaced
        ]


def records_of(account_id: str) -> Records:
    removed: list[tuple[int, int]] = []
    replaced: set[tuple[int, str, str]] = set()
    rows = AuditEntry.objects.filter(account_id=account_id, act__in=RECORDS)
    for changes in rows.order_by().values_list("changes", flat=True):
        removed += [(first, last) for first, last in _listed(changes, "removed", 2)]
        replaced |= {(seq, name, new) for seq, name, new in _listed(changes, "replaced", 3)}
    return Records(_joined(removed), frozenset(replaced))


def _listed(changes: Any, name: str, length: int) -> list[list[Any]]:
    """Whatever is there: one that was tampered with says nothing, and is found as changed."""
    found = changes.get(name) if isinstance(changes, dict) else None
    return [item for item in found or [] if isinstance(item, list) and len(item) == length]


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined
