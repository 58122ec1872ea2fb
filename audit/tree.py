"""The tree of an account as it is stored: hashes of subtrees, heads, proofs. At most a few reads each, however large the tree is.

Kept are the hashes of leaves and of each 256, 65,536, … of them; those between are made when they are asked for.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from audit.merkle import Frontier, Range, Subtree, consistency_ranges, cover, hashes_of, inclusion_ranges, root_of
from audit.models import AuditHead, AuditLeaf, AuditNode

STEP = 8  # levels between those that are kept
BLOCK = 1 << STEP


class Lacking(LookupError):
    """A hash of the tree is not there any more. Only who has tampered with it takes one away."""


@dataclass(frozen=True, slots=True)
class Tree:
    account_id: str

    def subtrees(self, wanted: list[Subtree]) -> dict[Subtree, bytes]:
        """Their hashes. Raises Lacking."""
        found = self.stored(wanted)
        for subtree in wanted:
            if subtree not in found:
                raise Lacking(f"The tree of {self.account_id} lacks hashes of {subtree.start} to {subtree.end - 1}.")
        return found

    def stored(self, wanted: list[Subtree]) -> dict[Subtree, bytes]:
        """The same of those for which all is there."""
        by_kept: dict[int, list[Subtree]] = defaultdict(list)
        for subtree in wanted:
            by_kept[subtree.level // STEP * STEP].append(subtree)
        found: dict[Subtree, bytes] = {}
        for level, subtrees in by_kept.items():
            kept = self._kept(level, [_range_at(level, subtree) for subtree in subtrees])
            for subtree in subtrees:
                start, end = _range_at(level, subtree)
                if all(index in kept for index in range(start, end)):
                    found[subtree] = root_of(kept[index] for index in range(start, end))
        return found

    def _kept(self, level: int, ranges: list[Range]) -> dict[int, bytes]:
        place = "seq" if level == 0 else "index"
        wanted = Q()
        for start, end in ranges:
            wanted |= Q(**{f"{place}__gte": start, f"{place}__lt": end})
        rows = AuditNode.objects.filter(level=level) if level else AuditLeaf.objects.all()
        return {
            index: bytes(hash_)
            for index, hash_ in rows.filter(wanted, account_id=self.account_id).values_list(place, "hash")
        }

    def head(self, at_least: int = 1) -> AuditHead | None:
        """The newest."""
        return AuditHead.objects.filter(account_id=self.account_id, size__gte=at_least).order_by("-size", "-pk").first()

    def frontier(self, size: int) -> Frontier:
        """The tree at `size`, to go on from there."""
        parts = list(cover(0, size))
        known = self.subtrees(parts)
        return Frontier(size, [known[part] for part in parts])

    def root(self, size: int) -> bytes:
        return self.frontier(size).root()

    def inclusion(self, seq: int, size: int) -> list[bytes]:
        return hashes_of(inclusion_ranges(seq, 0, size), self.subtrees)

    def consistency(self, first: int, second: int) -> list[bytes]:
        return hashes_of(consistency_ranges(first, second) if 0 < first < second else [], self.subtrees)


def _range_at(level: int, subtree: Subtree) -> Range:
    """Which of those that are kept at `level` it is made of."""
    return subtree.start >> level, subtree.end >> level


def stored_frontier(size: int, hashes: bytes) -> Frontier:
    """Out of the column of AuditTree."""
    return Frontier(size, [hashes[at : at + 32] for at in range(0, len(hashes), 32)])


def kept(subtree: Subtree) -> bool:
    return subtree.level > 0 and subtree.level % STEP == 0


def columns_of(frontier: Frontier) -> dict[str, Any]:
    return {"size": frontier.size, "frontier": b"".join(frontier.hashes)}
