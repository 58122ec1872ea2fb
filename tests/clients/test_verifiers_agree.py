"""What is done to the trail in the database the server names, and so does the verifier that knows nothing of it, on an export made then."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.findings import Finding
from audit.models import AuditHead, AuditLeaf, AuditTree
from audit.removal import remove_entries, replace_values
from audit.signing import head_as_json
from audit.tree import Tree, columns_of
from audit.verifying import verify
from tests.audit.bundles import ask_for_all, make, octets, verified
from tests.audit.tampering import fit_nodes, forge, forge_between, forget_after, sign_anew
from tests.audit.trail import ACCOUNT, entry_at, outside_of, sealed, tamper

pytestmark = pytest.mark.django_db
Place = tuple[str, int | None]


@pytest.fixture(autouse=True)
def one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.sealing.SQLITE_BATCH", 1000)


def both(folder: Path, *heads: AuditHead) -> tuple[list[Finding], list[Any]]:
    """What each finds, the server first."""
    kept = folder / "heads.jsonl"
    told = [head_as_json(head) for head in heads]
    kept.write_text("".join(f"{json.dumps(head)}\n" for head in told))
    export = ask_for_all(ACCOUNT)
    make()
    code, report = verified(octets(export), folder, "--head", str(kept))
    ours = verify(ACCOUNT, outside=[outside_of(head) for head in told]).findings
    assert (code, report["holds"]) == ((1, False) if report["findings"] else (0, True))
    return ours, report["findings"]


def firsts(found: tuple[list[Finding], list[Any]]) -> tuple[Place, Place]:
    ours, theirs = found
    return (ours[0].kind, ours[0].seq), (theirs[0]["kind"], theirs[0]["seq"])


def change(seq: int) -> None:
    tamper("UPDATE audit_auditentry SET actor_id = 'mallory' WHERE id = %s", entry_at(seq).pk)


def change_two() -> None:
    change(7)
    change(2)


def remove(seq: int) -> None:
    tamper("DELETE FROM audit_auditentry WHERE id = %s", entry_at(seq).pk)


def remove_with_leaf(seq: int) -> None:
    remove(seq)
    tamper("DELETE FROM audit_auditleaf WHERE seq = %s", seq)


def remove_and_move_up(seq: int) -> None:
    remove_with_leaf(seq)
    for later in range(seq + 1, AuditLeaf.objects.count() + 1):
        tamper("UPDATE audit_auditleaf SET seq = %s WHERE seq = %s", later - 1, later)
    tree_as_it_lies(AuditLeaf.objects.count())


def add(seq: int) -> None:
    forge_between(seq)
    tree_as_it_lies(AuditLeaf.objects.count())


def tree_as_it_lies(size: int) -> None:
    """So that the sealer goes on."""
    AuditTree.objects.filter(pk=ACCOUNT).update(**columns_of(Tree(ACCOUNT).frontier(size)))


def exchange(one: int, other: int) -> None:
    for former, now in ((one, 1000), (other, one), (1000, other)):
        tamper("UPDATE audit_auditleaf SET seq = %s WHERE seq = %s", now, former)


def replace_unseen(seq: int) -> None:
    replace_values(ACCOUNT, {seq: {"changes.to": ["mallory@example.com"]}}, reason="none")
    tamper("DELETE FROM audit_auditentry WHERE act = 'trail.replaced'")


CASES: dict[str, tuple[Callable[[], None], Place]] = {
    "changed": (lambda: change(2), ("changed", 2)),
    "two changed": (change_two, ("changed", 2)),
    "the first removed": (lambda: remove(0), ("missing", 0)),
    "one removed": (lambda: remove(4), ("missing", 4)),
    "the last removed": (lambda: remove(9), ("missing", 9)),
    "one removed with its leaf": (lambda: remove_with_leaf(4), ("missing", 4)),
    "one removed and the others moved up": (lambda: remove_and_move_up(4), ("missing", 4)),
    "one put in between": (lambda: add(4), ("added", 4)),
    "two exchanged": (lambda: exchange(2, 6), ("reordered", 2)),
    "one replaced": (lambda: replace_unseen(3), ("changed", 3)),
    "another salt": (lambda: tamper("UPDATE audit_auditleaf SET salt = %s WHERE seq = 3", b"s" * 32), ("changed", 3)),
    "no salts": (lambda: tamper("UPDATE audit_auditleaf SET kept = %s WHERE seq = 3", '{"odd": 1}'), ("changed", 3)),
    "another hash": (lambda: tamper("UPDATE audit_auditleaf SET hash = %s WHERE seq = 3", b"h" * 32), ("changed", 3)),
}


@pytest.mark.parametrize("case", CASES)
def test_both_name_the_same(case: str, tmp_path: Path) -> None:
    sealed(10)
    act, place = CASES[case]
    act()
    assert firsts(both(tmp_path)) == (place, place)


def test_both_find_nothing_where_entries_have_left_as_they_may(tmp_path: Path) -> None:
    """The export is of the whole account, of which more than a third is not there any more."""
    sealed(300)
    remove_entries(ACCOUNT, range(20, 120), reason="retention")
    replace_values(ACCOUNT, {9: {"changes.to": ["person:1"]}}, reason="GDPR 17")
    assert both(tmp_path) == ([], [])


def test_both_name_the_block_of_one_whose_leaf_was_made_to_fit(tmp_path: Path) -> None:
    sealed(600)
    forge(300)
    assert firsts(both(tmp_path)) == (("changed", 256), ("changed", 256))


def test_both_miss_the_head_where_the_whole_tree_was_made_to_fit(tmp_path: Path) -> None:
    """The server names the heads between which it was: it has all of them."""
    for _ in range(3):
        sealed(200)
    forge(300)
    fit_nodes()
    assert firsts(both(tmp_path)) == (("head", 200), ("head", None))


class TestHeads:
    """That somebody kept."""

    @pytest.fixture
    def head(self) -> AuditHead:
        sealed(3)
        sealed(9)
        return AuditHead.objects.get(account_id=ACCOUNT, size=12)

    def test_both_miss_an_end_that_was_cut_off(self, head: AuditHead, tmp_path: Path) -> None:
        forget_after(3)
        assert firsts(both(tmp_path, head)) == (("missing", 4), ("missing", 4))

    def test_both_name_an_older_back_up_that_went_on(self, head: AuditHead, tmp_path: Path) -> None:
        forget_after(3)
        sealed(20)
        assert firsts(both(tmp_path, head)) == (("head", 0), ("head", None))

    def test_both_name_a_key_that_was_replaced(self, tmp_path: Path, settings: Any) -> None:
        sealed(3)
        head = AuditHead.objects.get(account_id=ACCOUNT)
        settings.AUDIT_KEYS = ["another"]
        sign_anew("another")
        assert firsts(both(tmp_path, head)) == (("key", None), ("key", None))
