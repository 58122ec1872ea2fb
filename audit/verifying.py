"""Whether the trail is what was sealed, and if not, which entry is the first that is changed, missing, added or moved.

Each leaf is made anew from its entry and compared; each hash of the tree, each head and its signature follows from the leaves. What the
database alone cannot tell, that its end was cut off or an older back-up restored, heads tell that are kept outside of it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from audit.findings import Finding, Kind, OutsideHead, Verdict, in_order
from audit.leaves import COLUMNS, Salts, Told, hash_at, told_of, unplaced
from audit.lookups import rows_of
from audit.merkle import Frontier, Subtree, cover
from audit.models import AuditEntry, AuditHead, AuditKey, AuditLeaf, AuditNode, AuditTree, AuditUnsealed
from audit.records import Records, records_of
from audit.signing import KeyRefused, is_endorsed, is_signed, is_told_head_signed, key_id, key_in_use
from audit.tree import BLOCK, STEP, Lacking, Tree, kept

READ = 4 * BLOCK  # leaves at once
MOST = 20  # findings that are told
COMPARED = 50  # bad leaves among which it is looked for moved ones


@dataclass(slots=True)
class Leaf:
    seq: int
    hash: bytes
    told: Told | None
    salts: Salts | None


def accounts() -> list[str]:
    """All that have a tree, or entries in one, with the server's own."""
    return sorted(
        {
            *AuditTree.objects.values_list("pk", flat=True),
            *AuditHead.objects.values_list("account_id", flat=True).distinct(),
        }
    )


def verify(account_id: str, start: int = 0, stop: int | None = None, outside: Sequence[OutsideHead] = ()) -> Verdict:
    """The leaves from `start`, a multiple of 256, to `stop`; all of them without one. Changes nothing."""
    return _Verification(account_id, start, stop, outside).verdict()


class _Verification:
    def __init__(self, account_id: str, start: int, stop: int | None, outside: Sequence[OutsideHead]) -> None:
        self.tree = Tree(account_id)
        self.head = self.tree.head()
        size = self.head.size if self.head else 0
        self.is_to_the_end = stop is None or stop >= size
        start = min(start // BLOCK * BLOCK, size)
        self.result = Verdict(account_id, start, size if stop is None else max(start, min(stop, size)), size)
        self.result.head = self.head
        self.outside = sorted((one for one in outside if one.account_id == account_id), key=lambda one: one.size)
        self.keys = {key.key_id: bytes(key.public_key) for key in AuditKey.objects.order_by("pk")}
        self.records: Records = records_of(account_id)
        self.bad: list[Leaf] = []
        self.found: list[Finding] = []
        self.agreed = self._agreed_before(start)  # so many leaves are as a signed head has them
        self.last_root = b""

    def verdict(self) -> Verdict:
        result = self.result
        self._check_keys()
        frontier = self._frontier()
        for leaf in self._leaves():
            frontier = self._grow(frontier, leaf)
        if frontier and self.is_to_the_end:
            self._check_end(frontier)
        elif frontier:
            self._check_rest(frontier)
        if self.is_to_the_end:
            self._check_beyond()
        self._check_strangers()
        result.unsealed = AuditEntry.objects.filter(
            account_id=result.account_id, pk__in=AuditUnsealed.objects.values("pk")
        ).count()
        self._name_the_bad()
        result.root = bytes(self.head.root) if self.head else Frontier().root()
        result.findings = in_order(self.found)[:MOST]
        return result

    def _say(self, kind: Kind, what: str, seq: int | None = None, id_: str = "", until: int | None = None) -> None:
        if len(self.found) < 10 * MOST:
            self.found.append(Finding(kind, what, seq, id_, until))

    # --- Keys and heads ---

    def _check_keys(self) -> None:
        before = ""
        for key in AuditKey.objects.order_by("pk"):
            if key_id(bytes(key.public_key)) != key.key_id:
                self._say(Kind.KEY, f"The public key {key.key_id} is another than the one with this name.")
            if before and (key.endorsed_by != before or not is_endorsed(key, self.keys)):
                self._say(Kind.KEY, f"The key {key.key_id} is not endorsed by the key before it, {before}.")
            before = key.key_id
        self._check_keys_of_outside()

    def _check_keys_of_outside(self) -> None:
        """Who replaces the key and signs everything anew has no way to the heads that are elsewhere."""
        unknown = {
            str(one.told["key"]): one.from_where
            for one in self.outside
            if one.told and one.told["key"] not in self.keys
        }
        for key, from_where in unknown.items():
            self._say(
                Kind.KEY,
                f"A head that is kept elsewhere ({from_where}) is signed by {key}, which is no key of the trail.",
            )
        for one in self.outside:
            if one.told and one.told["key"] in self.keys and not is_told_head_signed(one.told, self.keys):
                self._say(
                    Kind.SIGNATURE,
                    f"The head that is kept elsewhere ({one.from_where}) is not one of ours, or was changed.",
                )

    def _heads(self, sizes: tuple[int, int]) -> list[AuditHead]:
        heads = AuditHead.objects.filter(account_id=self.result.account_id, size__gt=sizes[0], size__lte=sizes[1])
        return list(heads.order_by("size", "pk"))

    def _check_head(self, head: AuditHead, root: bytes) -> None:
        if not is_signed(head, self.keys):
            self._say(Kind.SIGNATURE, f"The head of size {head.size} is not signed by a key of the trail.", self.agreed)
        elif bytes(head.root) != root:
            self._say(
                Kind.HEAD,
                self._differs(head.size, f"the head of size {head.size} was signed"),
                self.agreed,
                until=head.size,
            )
        else:
            self.agreed = head.size

    def _differs(self, size: int, when: str, since: int | None = None) -> str:
        first = self.agreed if since is None else since
        return f"One of the entries {first} to {size - 1} is another, or at another place, than when {when}."

    def _check_outside(self, size: int, root: bytes) -> None:
        for one in self.outside:
            if one.size == size and one.root != root:
                since = self.last_outside
                what = self._differs(size, f"the head of size {size} was given out ({one.from_where})", since)
                self._say(Kind.HEAD, what, since, until=size)
            elif one.size == size:
                self.last_outside = size

    last_outside = 0

    # --- Leaves ---

    def _agreed_before(self, start: int) -> int:
        """By what is kept of the tree: earlier calls have looked at the leaves."""
        heads = AuditHead.objects.filter(account_id=self.result.account_id, size__lte=start)
        head = heads.order_by("-size", "-pk").first() if start else None
        with suppress(Lacking):
            if head and is_signed(head, self.keys) and self.tree.root(head.size) == bytes(head.root):
                return head.size
        return 0

    def _frontier(self) -> Frontier | None:
        """The tree up to where this begins, out of what is kept: earlier calls have seen that it follows from the leaves."""
        with suppress(Lacking):
            return self.tree.frontier(self.result.start)
        self._say(Kind.MISSING, "Hashes of the tree are missing.", 0)
        return None

    def _leaves(self) -> Iterator[Leaf]:
        """Of all that have a place, in order; one that is missing is told of and left out."""
        expected = self.result.start
        while expected < self.result.stop:
            end = min(expected + READ, self.result.stop)
            self._read_nodes(expected, end)
            self.due = {}
            for head in self._heads((expected, end)):
                self.due.setdefault(head.size, []).append(head)
            for leaf in self._read(expected, end):
                if leaf.seq > expected:
                    self._missing(expected, leaf.seq)
                expected = leaf.seq + 1
                yield leaf
            if expected < end:
                self._missing(expected, end)
                expected = end

    due: dict[int, list[AuditHead]]
    nodes: dict[Subtree, bytes]

    def _missing(self, start: int, end: int) -> None:
        what = "The entry has" if end - start == 1 else f"This and the following entries up to {end - 1} have"
        self._say(Kind.MISSING, f"{what} lost the place in the tree.", start)

    def _read_nodes(self, start: int, end: int) -> None:
        self.nodes = {}
        level = STEP
        while BLOCK <= 1 << level <= max(end, BLOCK):
            rows = AuditNode.objects.filter(
                account_id=self.result.account_id, level=level, index__gte=start >> level, index__lte=end >> level
            )
            self.nodes |= {Subtree(level, row.index): bytes(row.hash) for row in rows}
            level += STEP

    def _read(self, start: int, end: int) -> Iterator[Leaf]:
        rows = AuditLeaf.objects.filter(account_id=self.result.account_id, seq__gte=start, seq__lt=end).order_by("seq")
        leaves = list(rows.values_list("entry_id", "seq", "hash", "salt", "kept"))
        told: dict[int, list[Told]] = defaultdict(list)
        for row in rows_of([leaf[0] for leaf in leaves], *COLUMNS):
            told[row[0]].append(told_of(row))
        for entry_id, seq, hash_, salt, kept_salts in leaves:
            yield self._of_one(Leaf(seq, bytes(hash_), None, Salts.stored(salt, kept_salts)), told[entry_id])

    def _of_one(self, leaf: Leaf, told: list[Told]) -> Leaf:
        """PostgreSQL sees to it only within a month that keys differ (audit.months); a trigger does in all, which the owner may pass by."""
        if len(told) > 1:
            told.sort(key=lambda one: leaf.salts is None or not _is_as_sealed(leaf, one, leaf.salts))
            for other in told[1:]:
                self._say(Kind.ADDED, "The entry has the key of another one.", leaf.seq, other.id)
        leaf.told = told[0] if told else None
        return leaf

    def _grow(self, frontier: Frontier | None, leaf: Leaf) -> Frontier | None:
        self._check_leaf(leaf)
        if frontier is None or frontier.size != leaf.seq:
            return None  # a leaf is missing: nothing further follows from the others
        for subtree, hash_ in frontier.add(leaf.hash):
            if kept(subtree) and self.nodes.get(subtree) != hash_:
                what = f"One of the entries {subtree.start} to {subtree.end - 1} is another, or at another place, than when it was sealed."
                self._say(Kind.CHANGED, what, subtree.start, until=subtree.end)
        if (heads := self.due.get(frontier.size)) or self._is_outside(frontier.size):
            root = frontier.root()
            for head in heads or ():
                self._check_head(head, root)
            self._check_outside(frontier.size, root)
        return frontier

    def _is_outside(self, size: int) -> bool:
        return any(one.size == size for one in self.outside)

    def _check_leaf(self, leaf: Leaf) -> None:
        if leaf.told is None or leaf.salts is None or not _is_as_sealed(leaf, leaf.told, leaf.salts):
            leaf = self._again(leaf)
        if leaf.told is None:
            self._check_gone(leaf)
        elif leaf.salts is None or not _is_as_sealed(leaf, leaf.told, leaf.salts):
            self.bad.append(leaf)
            if len(self.bad) > COMPARED:
                self._say(Kind.CHANGED, CHANGED, leaf.seq, leaf.told.id)
        elif leaf.salts.replaced:
            self._check_replaced(leaf, leaf.told, leaf.salts)

    def _again(self, leaf: Leaf) -> Leaf:
        """It may have left the trail between two reads, and the entry that says so with it."""
        if len(self.bad) > COMPARED or (leaf.told is None and self.records.removes(leaf.seq)):
            return leaf
        read = list(self._read(leaf.seq, leaf.seq + 1))
        self.records = records_of(self.result.account_id)
        return read[0] if read else leaf

    def _check_gone(self, leaf: Leaf) -> None:
        if self.records.removes(leaf.seq):
            self.result.removed += 1
        else:
            self._say(Kind.MISSING, "The entry was removed, and no entry says so.", leaf.seq)

    def _check_replaced(self, leaf: Leaf, told: Told, salts: Salts) -> None:
        if self.records.unsaid(leaf.seq, told, salts):
            self.records = records_of(self.result.account_id)  # it may have been replaced since they were read
        if unsaid := self.records.unsaid(leaf.seq, told, salts):
            self._say(Kind.CHANGED, f"{', '.join(unsaid)}: replaced, and no entry says so.", leaf.seq, told.id)
        else:
            self.result.replaced += 1

    def _name_the_bad(self) -> None:
        """Among the first bad leaves: were they changed, or have they another one's place?"""
        for leaf in self.bad[:COMPARED]:
            assert leaf.told is not None
            kind, what, seq = self._name(leaf, leaf.told)
            self.found.append(Finding(kind, what, seq, leaf.told.id))  # however much has been said of later ones

    def _name(self, leaf: Leaf, told: Told) -> tuple[Kind, str, int]:
        if leaf.salts is None:
            return Kind.CHANGED, CHANGED, leaf.seq
        content = unplaced(told, leaf.salts)
        if hash_at(content, leaf.seq + 1) == leaf.hash:
            return Kind.MISSING, "An entry was removed here, and those behind it were moved.", leaf.seq
        if leaf.seq and hash_at(content, leaf.seq - 1) == leaf.hash:
            return Kind.ADDED, "An entry was added here, and those behind it were moved.", leaf.seq - 1
        for other in self.bad[:COMPARED]:
            if other is leaf or other.salts is None:
                continue
            moved = hash_at(content, other.seq) == leaf.hash
            if moved or hash_at(unplaced(told, other.salts), other.seq) == other.hash:
                return Kind.REORDERED, f"The entry has the place of another; its own is {other.seq}.", leaf.seq
        return Kind.CHANGED, CHANGED, leaf.seq

    # --- The end ---

    def _check_end(self, frontier: Frontier) -> None:
        tree = AuditTree.objects.filter(pk=self.result.account_id).first()
        if self.head and (tree is None or tree.size < self.head.size):
            self._say(Kind.CHANGED, "The size of the tree is smaller than its newest head says.", frontier.size)
        elif tree is not None and tree.size == frontier.size and bytes(tree.frontier) != b"".join(frontier.hashes):
            self._say(Kind.CHANGED, "What the tree grows on does not follow from its leaves.", frontier.size)

    def _check_rest(self, frontier: Frontier) -> None:
        """What is kept of the rest leads from here to the newest head. Whoever made these leaves fit each other, and took away the heads
        that are signed for them, has not that one."""
        size, whole = self.result.size, Frontier(frontier.size, list(frontier.hashes))
        if self.head is None or self.found or self.bad:
            return
        with suppress(Lacking):  # what is missing is told of by whoever comes to it
            rest = list(cover(frontier.size, size))
            known = self.tree.subtrees(rest)
            for subtree in rest:
                whole.push(known[subtree], subtree.level)
            if whole.root() != bytes(self.head.root):
                what = self._differs(size, f"the head of size {size} was signed")
                self._say(Kind.HEAD, what, self.agreed, until=size)

    def _check_beyond(self) -> None:
        size = self.result.size
        for one in self.outside:
            if one.size > size:
                what = f"The trail ends before: {one.from_where} has a head of size {one.size}, and {size} are left."
                self._say(Kind.MISSING, what, size)
        for seq, id_ in self._ask(_UNSIGNED):
            self._say(Kind.ADDED, "The entry has a place that no head was signed for.", seq, id_ or "")

    def _check_strangers(self) -> None:
        """Entries without a leaf, of the time of these leaves: from that of the first to that of the first behind them."""
        since = self._time_at(self.result.start)
        until = None if self.is_to_the_end else self._time_at(self.result.stop)
        if until is None and not self.is_to_the_end:
            return  # nothing is left there; whoever looks at the next leaves begins as early as this
        times = [connection.ops.adapt_datetimefield_value(time) for time in (since, until) if time is not None]
        bounds = (" AND e.timestamp >= %s" if since else "") + (" AND e.timestamp < %s" if until else "")
        for key, id_ in self._ask(_WITHOUT_LEAF.format(bounds=bounds), *times):
            self._say(Kind.ADDED, f"The entry was never given to the sealer (row {key}).", None, id_)

    def _time_at(self, seq: int) -> datetime | None:
        """Of the entry at that place, or of one soon behind it where that has left. None at the beginning."""
        leaves = AuditLeaf.objects.filter(account_id=self.result.account_id, seq__gte=seq, seq__lt=seq + READ)
        keys = list(leaves.order_by("seq").values_list("entry_id", flat=True)) if seq else []
        times = dict(rows_of(keys, "pk", "timestamp"))
        return next((times[key] for key in keys if key in times), None)

    def _ask(self, statement: str, *more: Any) -> list[tuple[Any, Any]]:
        """One statement, which sees all tables at one moment: the sealer goes on meanwhile."""
        with connection.cursor() as cursor:
            cursor.execute(statement, [*[self.result.account_id] * (statement.count("%s") - len(more)), *more])
            return list(cursor.fetchall())


def _is_as_sealed(leaf: Leaf, told: Told, salts: Salts) -> bool:
    return hash_at(unplaced(told, salts), leaf.seq) == leaf.hash


CHANGED = "The entry is another than the one that was sealed."
_UNSIGNED = f"""
SELECT l.seq, (SELECT e.public_id FROM audit_auditentry e WHERE e.id = l.entry_id) FROM audit_auditleaf l
WHERE l.account_id = %s AND l.seq >= coalesce((SELECT max(h.size) FROM audit_audithead h WHERE h.account_id = %s), 0)
ORDER BY l.seq LIMIT {MOST}
"""  # noqa: S608 (our number)
# By the index of account and time: in the order of the keys themselves PostgreSQL would go through the entries of all accounts.
_WITHOUT_LEAF = f"""
SELECT e.id, e.public_id FROM audit_auditentry e WHERE e.account_id = %s
AND NOT EXISTS (SELECT 1 FROM audit_auditleaf l WHERE l.entry_id = e.id AND l.account_id = e.account_id)
AND NOT EXISTS (SELECT 1 FROM audit_auditunsealed u WHERE u.entry_id = e.id){{bounds}} ORDER BY e.id + 0 LIMIT {MOST}
"""  # noqa: S608 (our number)
_NEVER_SEALED = f"""
SELECT u.entry_id FROM audit_auditunsealed u WHERE NOT EXISTS (SELECT 1 FROM audit_auditentry e WHERE e.id = u.entry_id)
ORDER BY u.entry_id LIMIT {MOST}
"""  # noqa: S608 (our number)


def key_of_another() -> list[Finding]:
    """Whether the key that is set here is not that of the trail. Web processes need none, so that only the command asks."""
    try:
        key_in_use()
    except KeyRefused as refusal:
        return [Finding(Kind.KEY, str(refusal))]
    return []


def gone_unsealed() -> list[Finding]:
    """Entries that were removed before they were sealed: of which account, nobody knows any more. For who acts for everybody."""
    with connection.cursor() as cursor:
        cursor.execute(_NEVER_SEALED)
        return [
            Finding(Kind.MISSING, f"An entry was removed before it was sealed (row {key}).")
            for (key,) in cursor.fetchall()
        ]
