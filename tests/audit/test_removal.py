"""The one way out of the trail: entries leave, and persons' data, and every proof holds"""

from typing import Any

import pytest
from django.db import connection, transaction

from audit.findings import Kind
from audit.leaves import field_salt
from audit.models import AuditEntry, AuditLeaf
from audit.record import Act, record
from audit.removal import MOST, NotRemovable, remove_entries, replace_values
from audit.sealing import seal_all
from audit.tree import Tree
from audit.verifying import verify
from tests.audit.trail import ACCOUNT, entry_at, first_finding, sealed, tamper

pytestmark = pytest.mark.django_db


def root() -> bytes:
    return Tree(ACCOUNT).root(5)


class TestRemoving:
    def test_entries_leave_and_the_trail_holds(self):
        sealed(5)
        before = root()
        said = remove_entries(ACCOUNT, [1, 2, 4], reason="retention of 90 days")
        assert AuditEntry.objects.filter(account_id=ACCOUNT).count() == 3
        assert AuditEntry.objects.get(public_id=said).changes == {
            "reason": "retention of 90 days",
            "removed": [[1, 2], [4, 4]],
        }
        assert root() == before
        for _ in range(2):
            verdict = verify(ACCOUNT)
            assert (verdict.findings, verdict.removed) == ([], 3)
            seal_all()

    def test_one_more_that_is_gone_is_found(self):
        sealed(5)
        remove_entries(ACCOUNT, [1, 3], reason="retention")
        tamper("DELETE FROM audit_auditentry WHERE id = %s", entry_at(2).pk)
        assert (first_finding().kind, first_finding().seq) == (Kind.MISSING, 2)

    def test_an_entry_that_says_more_than_was_done_is_found(self):
        sealed(5)
        said = remove_entries(ACCOUNT, [1], reason="retention")
        seal_all()
        tamper(
            "UPDATE audit_auditentry SET changes = %s WHERE public_id = %s",
            '{"reason": "retention", "removed": [[1, 2]]}',
            said,
        )
        tamper("DELETE FROM audit_auditentry WHERE id = %s", entry_at(2).pk)
        assert (first_finding().kind, first_finding().id) == (Kind.CHANGED, said)

    def test_what_says_it_stays(self):
        sealed(2)
        remove_entries(ACCOUNT, [0], reason="retention")
        seal_all()
        with pytest.raises(NotRemovable, match="stays"), transaction.atomic():
            remove_entries(ACCOUNT, [1, 2], reason="all of it")
        with pytest.raises(NotRemovable, match="stays"), transaction.atomic():
            replace_values(ACCOUNT, {2: {"changes.removed": []}}, reason="all of it")
        assert verify(ACCOUNT).holds

    def test_what_else_the_trail_says_of_itself_stays_too(self):
        sealed(1)
        record(Act.TRAIL_STREAMED, None, account_id=ACCOUNT, changes={"actor": "carol@shop.example"})
        seal_all()
        with pytest.raises(NotRemovable, match="stays"), transaction.atomic():
            remove_entries(ACCOUNT, [1], reason="all of it")

    @pytest.mark.parametrize("seqs", [[7], [0, 0, 9], range(MOST + 1)])
    def test_what_has_no_place_cannot_leave(self, seqs: Any):
        sealed(2)
        with pytest.raises(NotRemovable), transaction.atomic():
            remove_entries(ACCOUNT, seqs, reason="retention")
        assert AuditEntry.objects.filter(account_id=ACCOUNT).count() == 2


class TestReplacing:
    def test_a_person_is_gone_and_the_trail_holds(self):
        sealed(5)
        before = root()
        said = replace_values(ACCOUNT, {3: {"changes.to": ["person:7f3a"], "remote_addr": None}}, reason="GDPR 17")
        entry = entry_at(3)
        assert (entry.changes["to"], entry.changes["subject"], entry.remote_addr) == (
            ["person:7f3a"],
            "Invoice 3",
            None,
        )
        assert root() == before
        assert AuditLeaf.objects.get(pk=entry.pk).salt is None
        verdict = verify(ACCOUNT)
        assert (verdict.findings, verdict.replaced) == ([], 1)
        assert AuditEntry.objects.get(public_id=said).changes["reason"] == "GDPR 17"
        seal_all()
        assert verify(ACCOUNT).holds

    def test_nothing_is_left_to_try_out_who_it_was(self):
        """The salt of each field that was replaced is gone, and that of the entry, from which it came."""
        sealed(1)
        before = bytes(AuditLeaf.objects.get(account_id=ACCOUNT).salt or b"")
        replace_values(ACCOUNT, {0: {"changes.to": None}}, reason="GDPR 17")
        leaf = AuditLeaf.objects.get(account_id=ACCOUNT)
        stored = f"{leaf.kept}{leaf.salt!r}"
        assert before.hex() not in stored
        assert field_salt(before, "changes.to").hex() not in stored
        assert field_salt(before, "changes.subject").hex() in stored

    def test_what_says_nothing_stays_as_it_was_sealed(self):
        told = {"to": ["carol@shop.example"], "detail": "", "until": None, "list": []}
        record(Act.MESSAGE_SENT, None, account_id=ACCOUNT, changes=told)
        seal_all()
        replace_values(ACCOUNT, {0: {"changes.to": ["person:7f3a"]}}, reason="GDPR 17")
        assert entry_at(0).changes == {**told, "to": ["person:7f3a"]}
        assert verify(ACCOUNT).findings == []

    def test_it_can_be_done_again(self):
        sealed(1)
        replace_values(ACCOUNT, {0: {"changes.to": ["one", "two"]}}, reason="first")
        replace_values(ACCOUNT, {0: {"changes.to": ["one"], "changes.subject": ""}}, reason="second")
        assert entry_at(0).changes == {"to": ["one"], "size": 0.0}
        assert verify(ACCOUNT).holds

    @pytest.mark.parametrize(
        "change",
        [
            'UPDATE audit_auditentry SET changes = \'{"to": ["person:0000"], "subject": "Invoice 0", "size": 0.0}\'',
            'UPDATE audit_auditentry SET changes = \'{"to": ["person:7f3a"], "subject": "Invoice 9", "size": 0.0}\'',
            "UPDATE audit_auditentry SET actor_name = 'Mallory'",
            "UPDATE audit_auditentry SET remote_addr = NULL",
        ],
    )
    def test_what_is_changed_afterwards_is_found(self, change: str):
        sealed(1)
        replace_values(ACCOUNT, {0: {"changes.to": ["person:7f3a"]}}, reason="GDPR 17")
        seal_all()
        assert verify(ACCOUNT).holds
        tamper(f"{change} WHERE id = %s", entry_at(0).pk)
        assert (first_finding().kind, first_finding().seq) == (Kind.CHANGED, 0)

    def test_whom_the_trail_names_of_itself_can_be_replaced(self):
        record(Act.TRAIL_STREAMED, None, account_id=ACCOUNT, changes={"actor": "carol@shop.example", "format": "csv"})
        seal_all()
        replace_values(ACCOUNT, {0: {"changes.actor": "person_7f3a"}}, reason="GDPR 17")
        seal_all()
        assert entry_at(0).changes == {"actor": "person_7f3a", "format": "csv"}
        assert verify(ACCOUNT).findings == []
        with pytest.raises(NotRemovable, match="stays"), transaction.atomic():
            replace_values(ACCOUNT, {1: {"changes.reason": "another"}}, reason="GDPR 17")

    def test_only_what_can_name_a_person_can_be_replaced(self):
        sealed(1)
        for name in ("action", "object_id", "changes.nothing"):
            with pytest.raises(NotRemovable), transaction.atomic():
                replace_values(ACCOUNT, {0: {name: "x"}}, reason="GDPR 17")

    @pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no rights")
    def test_it_needs_no_right_of_the_owner(self):
        """A login that owns nothing acts as mailbot_system, too."""
        sealed(2)
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == ("mailbot_system",)
        replace_values(ACCOUNT, {0: {"changes.to": None}}, reason="GDPR 17")
        remove_entries(ACCOUNT, [1], reason="retention")
        assert verify(ACCOUNT).holds
