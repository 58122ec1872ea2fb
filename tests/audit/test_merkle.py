"""Trees and proofs: the vectors of RFC 6962 and what holds for every tree."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.merkle import (
    EMPTY,
    Frontier,
    Subtree,
    consistency_ranges,
    cover,
    hashes_of,
    inclusion_ranges,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    root_of,
)

pytestmark = pytest.mark.one_profile

# The leaves and roots of the reference implementation of RFC 6962 (certificate-transparency, merkle_tree_test).
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (leaf, size) → audit path, 0-based
PATHS = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 8): PATHS[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
MADE = [leaf_hash(b"%d" % number) for number in range(300)]


def subtrees_of(leaves: list[bytes]):
    def subtrees(wanted: list[Subtree]) -> dict[Subtree, bytes]:
        assert all(subtree.end <= len(leaves) for subtree in wanted)
        return {subtree: naive_root(leaves[subtree.start : subtree.end]) for subtree in wanted}

    return subtrees


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 2.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


def inclusion(leaves: list[bytes], index: int) -> list[bytes]:
    return hashes_of(inclusion_ranges(index, 0, len(leaves)), subtrees_of(leaves))


def consistency(leaves: list[bytes], first: int) -> list[bytes]:
    return hashes_of(consistency_ranges(first, len(leaves)), subtrees_of(leaves))


class TestVectors:
    def test_roots(self):
        assert EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        assert [root_of(HASHES[: size + 1]).hex() for size in range(8)] == ROOTS

    @pytest.mark.parametrize(("index", "size"), PATHS)
    def test_inclusion(self, index: int, size: int):
        assert [hash_.hex() for hash_ in inclusion(HASHES[:size], index)] == PATHS[index, size]

    @pytest.mark.parametrize(("first", "second"), CONSISTENCY)
    def test_consistency(self, first: int, second: int):
        assert [hash_.hex() for hash_ in consistency(HASHES[:second], first)] == CONSISTENCY[first, second]


class TestProofs:
    @given(st.integers(1, 300), st.data())
    def test_each_leaf_is_included_and_at_no_other_place(self, size: int, data: st.DataObject):
        leaves = MADE[:size]
        index = data.draw(st.integers(0, size - 1))
        path, root = inclusion(leaves, index), naive_root(leaves)
        assert is_included(leaves[index], index, size, path, root)
        other = data.draw(st.integers(0, size))
        assert is_included(leaves[index], other, size, path, root) is (other == index)
        assert not is_included(MADE[(index + 1) % 300], index, size, path, root)
        assert not is_included(leaves[index], index, size, [*path, root], root)
        assert not path or not is_included(leaves[index], index, size, path[:-1], root)

    @given(st.integers(1, 300), st.integers(1, 300), st.data())
    def test_any_two_heads_are_consistent_and_no_others(self, one: int, other: int, data: st.DataObject):
        first, second = sorted((one, other))
        path = consistency(MADE[:second], first)
        roots = naive_root(MADE[:first]), naive_root(MADE[:second])
        assert is_consistent(first, roots[0], second, roots[1], path)
        changed = list(MADE[:second])
        changed[data.draw(st.integers(0, first - 1))] = leaf_hash(b"forged")
        assert not is_consistent(first, naive_root(changed[:first]), second, roots[1], path)
        assert not is_consistent(first, roots[0], second, naive_root(changed), consistency(changed, first))

    @given(st.integers(0, 300))
    def test_it_grows_leaf_by_leaf_to_the_same_root(self, size: int):
        assert root_of(MADE[:size]) == naive_root(MADE[:size])

    @given(st.integers(0, 300), st.integers(0, 300))
    def test_a_range_is_covered_once_and_can_be_grown_on(self, one: int, other: int):
        start, end = sorted((one, other))
        parts = list(cover(start, end))
        assert [leaf for part in parts for leaf in range(part.start, part.end)] == list(range(start, end))
        tree = Frontier()
        for leaf in MADE[:start]:
            tree.push(leaf)
        for part in parts:
            tree.push(naive_root(MADE[part.start : part.end]), part.level)
        assert (tree.size, tree.root()) == (end, naive_root(MADE[:end]))

    def test_a_subtree_begins_only_where_one_of_its_size_can(self):
        tree = Frontier()
        tree.push(MADE[0])
        with pytest.raises(ValueError, match="begins at 1"):
            tree.push(MADE[1], 1)
