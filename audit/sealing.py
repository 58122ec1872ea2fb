"""The sealer: gives entries their place in the tree of their account, and signs how far it has grown.

Entries are written freely and in any order of transactions. Whatever has no leaf yet (AuditUnsealed) is taken in the order of its key, a
batch at a time; one that is committed late comes in a later batch, and nothing that has a place is moved. One sealer works at a time,
by a lock of its own that no writer waits for. A batch is one transaction, so whoever is killed leaves nothing behind.

A key whose entry is gone was tampered with. It is passed by and stays, so that a verification tells of it.
"""

import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from audit.leaves import COLUMNS, SALT_OCTETS, Salts, Told, hash_at, told_of, unplaced
from audit.lookups import rows_of
from audit.merkle import Frontier
from audit.models import AuditHead, AuditLeaf, AuditNode, AuditTree, AuditUnsealed
from audit.signing import KeyRefused, SigningKey, key_in_use, signed_head
from audit.tree import columns_of, kept, stored_frontier
from mailbot.lib.bulk import bulk_insert, bulk_set, new_row
from mailbot.lib.failpoints import failpoint
from mailbot.lib.scope import acting_for_everybody

log = logging.getLogger(__name__)

BATCH = 1000  # entries
SQLITE_BATCH = 250  # others wait to write meanwhile
LEAST = -(2**63)  # of all keys
LOCK = 0x6D62_7365_616C  # any number that nobody else locks
NO_FAULT_OF_A_TREE = (KeyRefused, OperationalError, InterfaceError)


class Prepared(NamedTuple):
    """An entry with all of its leaf but the place."""

    told: Told
    salt: bytes
    content: bytes


class Overtaken(Exception):
    """Another sealer had some of these entries first."""


def seal(seconds: float = 60.0) -> int:
    """Seal what there is, for so long at most; how many. Nothing where another one is at it. Raises KeyRefused."""
    return sum(_batches(seconds, wait=False))


def seal_all() -> int:
    """Seal all that was committed before, however long it takes and whoever else is at it. Raises KeyRefused."""
    return sum(_batches(None, wait=True))


def _batches(seconds: float | None, *, wait: bool) -> Iterator[int]:
    until = None if seconds is None else time.monotonic() + seconds
    with acting_for_everybody("the sealer"):
        last = AuditUnsealed.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        first = LEAST
        while until is None or time.monotonic() < until:
            prepared = prepare(last, first)
            if not prepared:
                return
            first = prepared[0].told.key  # no key before it has an entry
            try:
                yield place(prepared, wait=wait)
            except Overtaken:
                if not wait:
                    return
            except NO_FAULT_OF_A_TREE:
                raise
            except Exception:
                number, is_overtaken = _place_by_account(prepared, wait=wait)
                yield number
                if not is_overtaken:
                    first = prepared[-1].told.key + 1  # what no tree has taken waits
                elif not wait:
                    return


def _place_by_account(prepared: Iterable[Prepared], *, wait: bool) -> tuple[int, bool]:
    """A tree that was tampered with may take no more, and keeps no other one from growing. How many have their place, and whether another
    sealer had some of the others."""
    number, is_overtaken = 0, False
    for account_id, entries in _grouped(prepared).items():
        try:
            number += place(entries, wait=wait)
        except Overtaken:
            is_overtaken = True
        except NO_FAULT_OF_A_TREE:
            raise
        except Exception:
            whose = account_id or "the server"
            log.exception("%d entries of %s have no place: its tree is not as it grew.", len(entries), whose)
    return number, is_overtaken


def _grouped(prepared: Iterable[Prepared]) -> dict[str, list[Prepared]]:
    by_account: dict[str, list[Prepared]] = defaultdict(list)
    for one in prepared:
        by_account[one.told.account_id].append(one)
    return by_account


def prepare(last: int, first: int = LEAST) -> list[Prepared]:
    """The next entries without a leaf, of the keys from `first` to `last`, with what is costly to make: nobody waits for it."""
    size = BATCH if connection.vendor == "postgresql" else SQLITE_BATCH
    waiting = AuditUnsealed.objects.filter(pk__lte=last).order_by("pk").values_list("pk", flat=True)
    while keys := list(waiting.filter(pk__gte=first)[:size]):
        rows = {row[0]: row for row in rows_of(keys, *COLUMNS)}
        if rows:
            return [_prepared(told_of(rows[key])) for key in sorted(rows)]
        first = keys[-1] + 1
    return []


def _prepared(told: Told) -> Prepared:
    salt = secrets.token_bytes(SALT_OCTETS)
    return Prepared(told, salt, unplaced(told, Salts(salt)))


def place(prepared: list[Prepared], *, wait: bool = False) -> int:
    """Append them to the trees of their accounts, in one transaction. Raises Overtaken where another sealer is or was at them."""
    with transaction.atomic():
        _lock(wait)
        key = key_in_use()
        _take([one.told.key for one in prepared])
        failpoint("audit.taken")
        _append(_grouped(prepared), key)
        failpoint("audit.appended")
    failpoint("audit.sealed")
    return len(prepared)


def _lock(wait: bool) -> None:
    """SQLite has one writer at a time anyway."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_{'' if wait else 'try_'}advisory_xact_lock(%s)", [LOCK])
        (taken,) = cursor.fetchone()
    if taken is False:
        raise Overtaken


def _take(keys: list[int]) -> None:
    taken, _ = AuditUnsealed.objects.filter(pk__in=keys).delete()
    if taken != len(keys):
        raise Overtaken


def _append(by_account: dict[str, list[Prepared]], key: SigningKey) -> None:
    trees = {tree.account_id: tree for tree in AuditTree.objects.filter(pk__in=list(by_account))}
    new = [new_row(AuditTree, account_id=account_id) for account_id in by_account if account_id not in trees]
    bulk_insert(new)
    trees |= {tree.account_id: tree for tree in new}
    leaves: list[AuditLeaf] = []
    nodes: list[AuditNode] = []
    heads: list[AuditHead] = []
    now = timezone.now()
    for account_id, entries in by_account.items():
        tree = trees[account_id]
        frontier = stored_frontier(tree.size, bytes(tree.frontier))
        leaves += _leaves(account_id, entries, frontier, nodes)
        for column, value in columns_of(frontier).items():
            setattr(tree, column, value)
        heads.append(new_row(AuditHead, **signed_head(key, account_id, frontier.size, frontier.root(), now)))
    bulk_insert(leaves)
    bulk_insert(nodes)
    bulk_insert(heads)
    bulk_set(list(trees.values()), "size", "frontier")


def _leaves(
    account_id: str, entries: Iterable[Prepared], frontier: Frontier, nodes: list[AuditNode]
) -> Iterator[AuditLeaf]:
    for one in entries:
        seq = frontier.size
        hash_ = hash_at(one.content, seq)
        for subtree, root in frontier.add(hash_):
            if kept(subtree):
                columns = {"level": subtree.level, "index": subtree.number, "hash": root}
                nodes.append(new_row(AuditNode, account_id=account_id, **columns))
        yield new_row(AuditLeaf, entry_id=one.told.key, account_id=account_id, seq=seq, hash=hash_, salt=one.salt)
