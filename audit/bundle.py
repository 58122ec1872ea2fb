"""The audit part of an export bundle: what `clients/verify_audit.py` reads. docs/audit/format.md describes it for everybody.

audit.jsonl has a line for each entry, in the order of the tree; audit-proof.jsonl has hashes for what is not in it, so that both together
give the root of the signed head. Both are made line by line; kept in memory is three numbers for each entry.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from django.db.models import Q, QuerySet

from audit.canonical import canonical
from audit.leaves import FORMAT, Salts, Told
from audit.lookups import entries_by_key
from audit.merkle import Range, Subtree, cover
from audit.models import AuditEntry, AuditHead, AuditKey, AuditLeaf
from audit.records import RECORDS
from audit.signing import head_as_json, key_as_json
from audit.tree import BLOCK, STEP, Lacking, Tree

ENTRIES_FILE, PROOF_FILE = "audit.jsonl", "audit-proof.jsonl"
READ = 1000  # entries at once
HASHES_READ = 60  # at once: each is a condition


class NothingSealed(Exception):
    """The account has no tree yet."""


class AuditPart:
    """Entries of an account as of its newest head. `entries` narrows them, None is all; what the trail says of itself is always among them.

    Seal first (audit.sealing.seal_all): what has no place yet is not in it. Then ask for the `lines`, the `proof_lines` and the `manifest`,
    in this order: what is removed meanwhile is not in the lines, and the others go by them. `head`: as of an earlier one. Raises
    NothingSealed.
    """

    def __init__(
        self, account_id: str, entries: QuerySet[AuditEntry] | None = None, head: AuditHead | None = None
    ) -> None:
        self.account_id, self.tree, self.is_complete = account_id, Tree(account_id), entries is None
        self._wanted = entries
        head = head or self.tree.head()
        if head is None:
            raise NothingSealed(account_id)
        self.head: AuditHead = head
        self.seqs, self.keys = array("q"), array("q")
        self.written = array("q")  # the places of the lines
        self._choose(0)

    def _choose(self, start: int) -> None:
        """The places from `start` to the head."""
        leaves = AuditLeaf.objects.filter(account_id=self.account_id, seq__gte=start, seq__lt=self.head.size)
        if self._wanted is not None:
            leaves = leaves.filter(Q(entry_id__in=self._wanted.order_by().values("pk")) | self._is_record())
        for seq, key in leaves.order_by("seq").values_list("seq", "entry_id").iterator(chunk_size=10_000):
            self.seqs.append(seq)
            self.keys.append(key)

    def _is_record(self) -> Q:
        records = AuditEntry.objects.filter(account_id=self.account_id, act__in=RECORDS)
        return Q(entry_id__in=records.order_by().values("pk"))

    def catch_up(self) -> bool:
        """As of the newest head, where behind ours the trail says that something of it was removed or replaced: the lines that were read
        since may be without it, so who says so has to be among them. Whether `lines` behind the last place are due."""
        ours, newest = self.head.size, self.tree.head()
        if newest is None or newest.size <= ours:
            return False
        later = AuditLeaf.objects.filter(account_id=self.account_id, seq__gte=ours, seq__lt=newest.size)
        if not later.filter(self._is_record()).exists():
            return False
        self.head = newest
        self._choose(ours)
        return True

    def __len__(self) -> int:
        return len(self.seqs)

    def lines(self, behind: int = -1) -> Iterator[bytes]:
        """Of audit.jsonl, each with its line feed. An entry that was removed meanwhile is left out. `behind` a place: the rest of them, by
        whoever has put the places of the others into `written`."""
        if behind < 0:
            self.written = array("q")
        for at in self._steps(behind):
            for one in self._read(at):
                self.written.append(one[0])
                yield line_of(*one)

    def entries(self, behind: int = -1) -> Iterator[tuple[int, Told]]:
        """The same as objects, for a CSV."""
        for at in self._steps(behind):
            yield from ((seq, told) for seq, _, told, _ in self._read(at))

    def _steps(self, behind: int) -> range:
        return range(bisect_right(self.seqs, behind), len(self.seqs), READ)

    def _read(self, at: int) -> Iterator[tuple[int, bytes, Told, Salts]]:
        keys = self.keys[at : at + READ].tolist()
        told = entries_by_key(keys)
        rows = AuditLeaf.objects.filter(entry_id__in=keys).order_by("seq")
        for key, seq, hash_, salt, kept in rows.values_list("entry_id", "seq", "hash", "salt", "kept"):
            if key in told:
                # Where the salts were tampered with it is shown without them: the verifier names it.
                yield seq, bytes(hash_), told[key], Salts.stored(salt, kept) or Salts()

    def proof_lines(self) -> Iterator[bytes]:
        """Of audit-proof.jsonl. What the tree lacks is left out: whoever verifies misses it there."""
        for batch in _batches(self._parts()):
            wanted = [subtree for one in batch for subtree in (one if isinstance(one, list) else [one])]
            hashes = self.tree.stored(wanted)
            for one in batch:
                if all(subtree in hashes for subtree in (one if isinstance(one, list) else [one])):
                    yield canonical(_proof(one, hashes)) + b"\n"

    def _parts(self) -> Iterator["list[Subtree] | Subtree"]:
        """In order: the gaps, as the subtrees that fill them, and the blocks that have entries here and end before the head does."""
        block = -1
        for gap, last in self._gaps():
            if gap[0] < gap[1]:
                yield from self._block_before(block, gap[0])
                yield list(cover(*gap))
            if last is not None and last // BLOCK != block:
                yield from self._block_before(block, last)
                block = last // BLOCK
        yield from self._block_before(block, self.head.size)

    def _block_before(self, block: int, seq: int) -> Iterator[Subtree]:
        if 0 <= block != self._told and (block + 1) * BLOCK <= seq:
            self._told = block
            yield Subtree(STEP, block)

    _told = -1

    def _gaps(self) -> Iterator[tuple[Range, int | None]]:
        """Before each entry, and after the last; with the entry behind it."""
        expected = 0
        self._told = -1
        for seq in self.written:
            yield (expected, seq), seq
            expected = seq + 1
        yield (expected, self.head.size), None

    def manifest(self) -> dict[str, Any]:
        """The object `audit` of manifest.json, but for `earlier`."""
        return {
            "format": FORMAT,
            "account_id": self.account_id,
            "complete": self.is_complete,
            "entries": len(self.written),
            "head": head_as_json(self.head),
            "keys": [key_as_json(key) for key in AuditKey.objects.order_by("pk")],
        }

    def earlier(self, heads: Iterable[AuditHead]) -> list[dict[str, Any]]:
        """These, each with the proof that ours goes on from it; without those of which the tree lacks what that is made of."""
        return [one for head in heads if (one := self._going_on_from(head)) is not None]

    def _going_on_from(self, head: AuditHead) -> dict[str, Any] | None:
        try:
            path = self.tree.consistency(head.size, self.head.size)
        except Lacking:
            return None
        return {"head": head_as_json(head), "consistency": [hash_.hex() for hash_ in path]}


def line_of(seq: int, hash_: bytes, told: Told, salts: Salts) -> bytes:
    return canonical({"seq": seq, "hash": hash_.hex(), "entry": told.shown(), **salts.as_json()}) + b"\n"


def _proof(one: "list[Subtree] | Subtree", hashes: dict[Subtree, bytes]) -> dict[str, Any]:
    if isinstance(one, Subtree):
        return {"block": one.number, "hash": hashes[one].hex()}
    return {"start": one[0].start, "end": one[-1].end, "hashes": [hashes[subtree].hex() for subtree in one]}


def _batches(parts: "Iterator[list[Subtree] | Subtree]") -> "Iterator[list[list[Subtree] | Subtree]]":
    for _, batch in groupby(enumerate(parts), key=lambda numbered: numbered[0] // HASHES_READ):
        yield [one for _, one in batch]
