"""The sealer: each entry gets a place, once, in order, whatever happens meanwhile"""

import threading
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from audit import sealing
from audit.merkle import is_consistent, is_included
from audit.models import AuditEntry, AuditHead, AuditLeaf, AuditTree, AuditUnsealed
from audit.sealing import Overtaken, place, prepare, seal, seal_all
from audit.signing import KeyRefused
from audit.tree import Tree
from audit.verifying import gone_unsealed, verify
from mailbot.lib.scope import EVERYBODY, acting_within
from tests.audit.tampering import forge_between
from tests.audit.trail import ACCOUNT, sealed, tamper, write

pytestmark = pytest.mark.django_db


def order(account_id: str = ACCOUNT) -> list[int]:
    leaves = AuditLeaf.objects.filter(account_id=account_id).order_by("seq")
    assert [leaf.seq for leaf in leaves] == list(range(len(leaves)))
    return [leaf.pk for leaf in leaves]


class TestSealing:
    def test_it_gives_places_in_the_order_of_writing(self):
        write(5)
        write(2, "account_of_another")
        assert seal_all() >= 7
        entries = AuditEntry.objects.filter(account_id=ACCOUNT).order_by("pk")
        assert order() == list(entries.values_list("pk", flat=True))
        assert len(order("account_of_another")) == 2
        assert not AuditUnsealed.objects.exists()

    def test_it_goes_on_where_it_was(self):
        sealed(3)
        before = order()
        sealed(600)
        assert order()[:3] == before
        assert verify(ACCOUNT).holds
        assert [head.size for head in AuditHead.objects.filter(account_id=ACCOUNT).order_by("pk")][-1] == 603

    def test_it_signs_nothing_where_nothing_was_written(self):
        sealed(1)
        heads = AuditHead.objects.count()
        assert seal_all() == 0
        assert AuditHead.objects.count() == heads

    def test_what_comes_late_gets_a_later_place(self):
        """Its key is older than those that were sealed meanwhile: a transaction that stayed open."""
        write(1)
        late = AuditUnsealed.objects.latest("pk")
        key = late.pk
        late.delete()
        sealed(2)
        AuditUnsealed.objects.create(pk=key)
        seal_all()
        assert order()[-1] == key
        assert verify(ACCOUNT).holds

    def test_it_seals_what_belongs_to_no_account(self):
        sealed(2, "")
        assert len(order("")) == 2
        assert verify("").holds

    def test_it_leaves_to_another_what_he_took(self):
        write(2)
        prepared = prepare(10**15)
        seal_all()
        with pytest.raises(Overtaken):
            place(prepared)
        assert len(order()) == 2

    def test_it_refuses_a_key_that_nobody_put_in_use(self, settings: Any):
        sealed(1)
        write(1)
        settings.AUDIT_KEYS = ["another"]
        with pytest.raises(KeyRefused, match="rotate_audit_key"):
            seal_all()
        assert AuditUnsealed.objects.count() == 1


class TestGone:
    """Entries that somebody removed in the database before they were sealed."""

    @pytest.fixture(autouse=True)
    def two_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("BATCH", "SQLITE_BATCH"):
            monkeypatch.setattr(f"audit.sealing.{name}", 2)

    @pytest.mark.parametrize("gone", [(0, 1), (0, 1, 2, 3), (0, 1, 3, 4, 5, 6), (1, 2, 3), ()])
    def test_what_is_left_is_sealed_in_its_order(self, gone: tuple[int, ...]):
        write(8)
        keys = list(AuditEntry.objects.filter(account_id=ACCOUNT).order_by("pk").values_list("pk", flat=True))
        removed = [keys[place] for place in gone]
        for key in removed:
            tamper("DELETE FROM audit_auditentry WHERE id = %s", key)
        left = [key for key in keys if key not in removed]
        assert seal_all() == len(left)
        assert order() == left
        sealed(1)
        assert order()[:-1] == left
        # They are told of for good.
        assert list(AuditUnsealed.objects.order_by("pk").values_list("pk", flat=True)) == removed
        told = [finding.what for finding in gone_unsealed()]
        assert told == [f"An entry was removed before it was sealed (row {key})." for key in removed]

    @pytest.mark.parametrize("how", ["the next place is taken", "no frontier", "no number is left"])
    def test_a_tree_that_takes_no_more_keeps_no_other_from_growing(self, caplog: Any, how: str):
        sealed(5)
        if how == "the next place is taken":
            forge_between(2)
        else:
            columns = {"frontier": b""} if how == "no frontier" else {"size": 2**63 - 1}
            AuditTree.objects.filter(pk=ACCOUNT).update(**columns)
        write(2)
        write(3, "account_of_another")
        assert seal_all() == 3
        assert AuditTree.objects.get(pk="account_of_another").size == 3
        assert "2 entries of account_of_the_trail have no place" in caplog.text
        assert AuditUnsealed.objects.count() == 2
        assert verify("account_of_another").holds

    def test_what_another_sealer_had_first_keeps_nothing_from_being_sealed(self, monkeypatch: pytest.MonkeyPatch):
        """Of a batch with a tree that takes no more."""
        sealed(5)
        forge_between(2)
        write(1)
        write(3, "account_of_another")
        tries = iter([ValueError, None, Overtaken])

        def placed(prepared: Any, **options: Any) -> int:
            if (fault := next(tries, None)) is not None:
                raise fault
            return place(prepared, **options)

        monkeypatch.setattr(sealing, "place", placed)
        seal_all()
        assert AuditTree.objects.get(pk="account_of_another").size == 3

    def test_while_none_is_gone_it_asks_no_more_than_before(self, django_assert_num_queries: Any):
        write(2)
        with django_assert_num_queries(2):
            assert len(prepare(10**15)) == 2
        AuditUnsealed.objects.all().delete()
        with django_assert_num_queries(1):
            assert prepare(10**15) == []


class TestTree:
    @pytest.mark.parametrize("size", [1, 255, 256, 257, 1000])
    def test_every_entry_has_a_proof(self, size: int):
        sealed(size)
        tree = Tree(ACCOUNT)
        head = tree.head()
        assert head is not None
        root = bytes(head.root)
        for seq in {0, size // 2, size - 1, max(0, size - 2)}:
            leaf = bytes(AuditLeaf.objects.get(account_id=ACCOUNT, seq=seq).hash)
            assert is_included(leaf, seq, size, tree.inclusion(seq, size), root)
        for first in {1, size // 2 or 1, size}:
            assert is_consistent(first, tree.root(first), size, root, tree.consistency(first, size))

    def test_a_proof_takes_as_many_queries_however_large_it_is(self, django_assert_max_num_queries: Any):
        sealed(1000)
        with django_assert_max_num_queries(2):
            Tree(ACCOUNT).inclusion(3, 1000)
        with django_assert_max_num_queries(2):
            Tree(ACCOUNT).consistency(700, 1000)


def add_as_before(number: int) -> None:
    """An entry by the columns that it had before the tree."""
    values = {
        **dict.fromkeys(("object_type", "inbox_id", "mode", "actor_id", "actor_name", "object_pk"), ""),
        "public_id": f"audit_{number:026}",
        "act": "message.received",
        "account_id": ACCOUNT,
        "actor_kind": "system",
        "object_repr": "",
        "action": 3,
        "changes_text": "",
        "timestamp": "2026-11-24 10:15:00+00:00",
    }
    columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
    given: list[Any] = list(values.values())
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO audit_auditentry ({columns}) VALUES ({places})", given)


class TestUpgrade:
    """Entries that were there before the tree."""

    @pytest.mark.django_db(transaction=True)
    def test_they_are_sealed_in_their_order(self, settings: Any):
        call_command("migrate", "audit", "0005", verbosity=0)
        try:
            for number in range(30):
                add_as_before(number)
        finally:
            call_command("migrate", verbosity=0)
        with acting_within(EVERYBODY):
            write(2)
            assert seal_all() == 32
            ids = dict(AuditEntry.objects.filter(account_id=ACCOUNT).values_list("pk", "public_id"))
            assert [ids[key] for key in order()][:30] == [f"audit_{number:026}" for number in range(30)]
            assert verify(ACCOUNT).holds


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
class TestBesideOthers:
    def test_no_writer_waits_for_it_and_it_waits_for_no_writer(self):
        write(3)
        begun, go_on = threading.Event(), threading.Event()

        def write_slowly() -> None:
            with acting_within(EVERYBODY), transaction.atomic():
                write(1)
                begun.set()
                go_on.wait(10)
            connection.close()

        writer = threading.Thread(target=write_slowly)
        writer.start()
        assert begun.wait(10)
        try:
            with transaction.atomic():
                seal_all()  # its lock is held to the end of this transaction
                write(1)
        finally:
            go_on.set()
            writer.join()
        assert seal_all() == 2
        assert len(order()) == 5
        assert verify(ACCOUNT).holds

    def test_two_do_not_work_at_once(self):
        write(3)
        with transaction.atomic():
            seal_all()
            found: list[int] = []
            thread = threading.Thread(target=lambda: found.append(seal_in_a_thread()))
            thread.start()
            thread.join()
        assert found == [0]
        assert AuditTree.objects.get(pk=ACCOUNT).size == 3


def seal_in_a_thread() -> int:
    try:
        with acting_within(EVERYBODY):
            return seal()
    finally:
        connection.close()
