"""Merkle trees as in RFC 6962 2.1 and RFC 9162 2.1, as plain functions of hashes: no tables, no clock.

D[n] are the leaves 0 … n-1. `Subtree(level, number)` is the complete tree over the leaves number·2^level … (number+1)·2^level-1: whoever
keeps some of these hashes can make every proof of a tree of any size out of them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

EMPTY = sha256(b"").digest()


def leaf_hash(content: bytes) -> bytes:
    return sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Subtree(NamedTuple):
    level: int
    number: int

    @property
    def start(self) -> int:
        return self.number << self.level

    @property
    def end(self) -> int:
        return (self.number + 1) << self.level


def cover(start: int, end: int) -> Iterator[Subtree]:
    """The fewest complete subtrees that are the leaves start … end-1, from the left."""
    while start < end:
        level = min((start & -start).bit_length() - 1 if start else 63, (end - start).bit_length() - 1)
        yield Subtree(level, start >> level)
        start += 1 << level


@dataclass(slots=True)
class Frontier:
    """A tree that grows at its right, by as many hashes as its size has ones in binary. `add` takes a subtree where the tree ends."""

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    def add(self, hash_: bytes, level: int = 0) -> Iterator[tuple[Subtree, bytes]]:
        """Tells each subtree that is complete with it. To be run through to the end. Raises ValueError for one that does not fit here."""
        if self.size & ((1 << level) - 1):
            raise ValueError(f"No subtree of level {level} begins at {self.size}.")
        index = self.size >> level
        self.size += 1 << level
        while True:
            yield Subtree(level, index), hash_
            if not index & 1:
                break
            hash_ = node_hash(self.hashes.pop(), hash_)
            level, index = level + 1, index >> 1
        self.hashes.append(hash_)

    def push(self, hash_: bytes, level: int = 0) -> None:
        for _ in self.add(hash_, level):
            pass

    def root(self) -> bytes:
        return folded(self.hashes) if self.hashes else EMPTY


def folded(hashes: Iterable[bytes]) -> bytes:
    """The root over complete subtrees that follow each other, each smaller than the one before."""
    right, *lefts = reversed(list(hashes))
    for left in lefts:
        right = node_hash(left, right)
    return right


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Of leaf hashes."""
    tree = Frontier()
    for leaf in leaves:
        tree.push(leaf)
    return tree.root()


# --- Proofs: first which ranges of leaves they are made of, then their hashes ------------------------------------------

Range = tuple[int, int]
Hashes = Callable[[list[Subtree]], dict[Subtree, bytes]]


def inclusion_ranges(index: int, start: int, end: int) -> list[Range]:
    """PATH(m, D[n]) of RFC 6962 2.1.1, the nearest first."""
    if end - start <= 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*inclusion_ranges(index, start, middle), (middle, end)]
    return [*inclusion_ranges(index, middle, end), (start, middle)]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """PROOF(m, D[n]) of RFC 6962 2.1.2."""
    return _subproof(first, 0, second, True)


def _subproof(first: int, start: int, end: int, is_whole: bool) -> list[Range]:
    if first == end - start:
        return [] if is_whole else [(start, end)]
    middle = start + _split(end - start)
    if start + first <= middle:
        return [*_subproof(first, start, middle, is_whole), (middle, end)]
    return [*_subproof(start + first - middle, middle, end, False), (start, middle)]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def hashes_of(ranges: list[Range], subtrees: Hashes) -> list[bytes]:
    """The hash of each range; all that has to be looked up is asked for at once."""
    covers = [list(cover(start, end)) for start, end in ranges]
    known = subtrees([subtree for one in covers for subtree in one])
    return [folded(known[subtree] for subtree in one) for one in covers]


# --- Verification, as RFC 9162 2.1.3.2 and 2.1.4.2 spell it out --------------------------------------------------------


def is_included(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    if index >= size:
        return False
    position, last, hash_ = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            hash_ = node_hash(sibling, hash_)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            hash_ = node_hash(hash_, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and hash_ == root


def is_consistent(first: int, first_root: bytes, second: int, second_root: bytes, path: list[bytes]) -> bool:
    """Whether the tree of `second` leaves begins with that of `first`."""
    if first == second or first == 0:
        return not path and (first_root == second_root if first == second else first_root == EMPTY)
    if first > second or not path:
        return False
    if first & (first - 1) == 0:
        path = [first_root, *path]
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    one = other = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            one, other = node_hash(sibling, one), node_hash(sibling, other)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            other = node_hash(other, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and one == first_root and other == second_root
