"""What is done to the trail directly in the database is found, and the entry named."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from audit.anchors import post_heads
from audit.findings import Kind
from audit.leaves import COLUMNS, Salts, hash_at, unplaced
from audit.models import AuditEntry, AuditHead
from audit.removal import remove_entries
from audit.sealing import seal_all
from audit.signing import head_as_json
from audit.verifying import verify
from mailbot.lib.ids import new_id
from tests.audit.tampering import fit_nodes, forge, forge_between, forget_after, sign_anew, told
from tests.audit.trail import ACCOUNT, entry_at, first_finding, outside_of, sealed, tamper, write

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.sealing.SQLITE_BATCH", 1000)


# Another value for each column of the trail.
CHANGES: dict[str, Any] = {
    "public_id": new_id("audit"),
    "timestamp": "2026-01-01 00:00:00+00:00",
    "account_id": "account_of_another",
    "inbox_id": "inbox_1",
    "mode": "live",
    "act": "message.sent",
    "action": 1,
    "object_type": "message",
    "object_pk": "msg_1",
    "object_id": 1,
    "content_type_id": 1,
    "actor_kind": "user",
    "actor_id": "1",
    "cid": "req_other",
    "remote_port": 25,
    "actor_name": "Mallory",
    "actor_email": "mallory@example.com",
    "remote_addr": "192.0.2.8",
    "object_repr": "Something",
    "serialized_data": "{}",
    "additional_data": "[1]",
    "changes_text": "x",
    "changes": '{"to": ["carol2@shop.example"], "subject": "Invoice 3", "size": 3.0}',
}


class TestEntries:
    def test_it_knows_every_column(self):
        names = {field.column for field in AuditEntry._meta.concrete_fields} - {"id"}
        assert names == set(CHANGES) == set(COLUMNS) - {"id"}

    @pytest.mark.parametrize("column", CHANGES)
    def test_a_change_in_any_column_is_found(self, column: str):
        sealed(4)
        entry = entry_at(2)
        tamper(f"UPDATE audit_auditentry SET {column} = %s WHERE id = %s", CHANGES[column], entry.pk)
        finding = first_finding()
        assert (finding.kind, finding.seq) == (Kind.CHANGED, 2)
        assert finding.id == (CHANGES[column] if column == "public_id" else entry.public_id)

    def test_the_key_of_a_row_is_found_to_be_another(self):
        sealed(4)
        tamper("UPDATE audit_auditentry SET id = 1000000000 WHERE id = %s", entry_at(2).pk)
        assert (first_finding().kind, first_finding().seq) == (Kind.MISSING, 2)

    @pytest.mark.parametrize("seq", [0, 2, 4])
    def test_one_that_was_removed_is_named(self, seq: int):
        sealed(5)
        tamper("DELETE FROM audit_auditentry WHERE id = %s", entry_at(seq).pk)
        assert (first_finding().kind, first_finding().seq) == (Kind.MISSING, seq)

    @pytest.mark.parametrize("seq", [0, 2, 4])
    def test_one_that_was_removed_with_its_leaf_is_named(self, seq: int):
        sealed(5)
        entry = entry_at(seq)
        tamper("DELETE FROM audit_auditentry WHERE id = %s", entry.pk)
        tamper("DELETE FROM audit_auditleaf WHERE entry_id = %s", entry.pk)
        assert (first_finding().kind, first_finding().seq) == (Kind.MISSING, seq)

    def test_one_that_was_removed_and_the_others_moved_up_is_named(self):
        sealed(5)
        tamper("DELETE FROM audit_auditentry WHERE id = %s", entry_at(1).pk)
        tamper("DELETE FROM audit_auditleaf WHERE seq = 1")
        for seq in (2, 3, 4):
            tamper("UPDATE audit_auditleaf SET seq = %s WHERE seq = %s", seq - 1, seq)
        assert (first_finding().kind, first_finding().seq) == (Kind.MISSING, 1)

    def test_one_that_was_removed_before_it_was_sealed_is_told_of(self, capsys: Any):
        sealed(1)
        write(1)
        entry = AuditEntry.objects.latest("pk")
        tamper("DELETE FROM audit_auditentry WHERE id = %s", entry.pk)
        seal_all()
        with pytest.raises(CommandError, match="before it was sealed"):
            call_command("verify_audit")
        assert f"row {entry.pk}" in capsys.readouterr().out

    def test_one_that_was_added_beside_the_sealer_is_named(self):
        sealed(3)
        copied = ", ".join(column for column in COLUMNS if column not in ("id", "public_id"))
        forged = new_id("audit")
        tamper(
            f"INSERT INTO audit_auditentry (public_id, {copied}) SELECT %s, {copied} FROM audit_auditentry WHERE id = %s",
            forged,
            entry_at(1).pk,
        )
        finding = first_finding()
        assert (finding.kind, finding.id) == (Kind.ADDED, forged)

    def test_one_that_was_put_in_between_is_named(self):
        sealed(5)
        forge_between(2)
        assert (first_finding().kind, first_finding().seq) == (Kind.ADDED, 2)

    def test_one_that_was_put_behind_the_last_head_is_named(self):
        sealed(3)
        write(1)
        entry = AuditEntry.objects.latest("pk")
        content = hash_at(unplaced(told(entry.pk), Salts(b"s" * 32)), 3)
        tamper("DELETE FROM audit_auditunsealed")
        leaf = (entry.pk, ACCOUNT, 3, content, b"s" * 32)
        tamper("INSERT INTO audit_auditleaf (entry_id, account_id, seq, hash, salt) VALUES (%s, %s, %s, %s, %s)", *leaf)
        finding = first_finding()
        assert (finding.kind, finding.seq, finding.id) == (Kind.ADDED, 3, entry.public_id)

    def test_the_first_of_many_is_named_first(self):
        sealed(500)
        tamper("UPDATE audit_auditentry SET actor_id = 'mallory' WHERE id >= %s", entry_at(10).pk)
        assert (first_finding().kind, first_finding().seq) == (Kind.CHANGED, 10)

    def test_two_that_changed_places_are_named(self):
        sealed(5)
        for one, other in ((1, 1000), (3, 1), (1000, 3)):
            tamper("UPDATE audit_auditleaf SET seq = %s WHERE seq = %s", other, one)
        findings = verify(ACCOUNT).findings
        assert [(one.kind, one.seq) for one in findings][:2] == [(Kind.REORDERED, 1), (Kind.REORDERED, 3)]

    def test_two_whose_contents_changed_places_are_named(self):
        sealed(5)
        one, other = entry_at(1).pk, entry_at(3).pk
        for here, there in ((one, 10**9), (other, one), (10**9, other)):
            tamper("UPDATE audit_auditentry SET id = %s WHERE id = %s", there, here)
        findings = verify(ACCOUNT).findings
        assert [(found.kind, found.seq) for found in findings][:2] == [(Kind.REORDERED, 1), (Kind.REORDERED, 3)]


class TestTree:
    """Whoever makes the leaves fit what he changed meets the tree, and then the heads."""

    @pytest.mark.parametrize(
        ("table", "column", "value"),
        [
            ("audit_auditleaf", "hash", b"h" * 32),
            ("audit_auditleaf", "salt", b"s" * 32),
            ("audit_auditleaf", "salt", None),
            ("audit_auditleaf", "kept", '{"salts": {}, "replaced": {}}'),
            ("audit_auditleaf", "kept", '{"nonsense": 1}'),
            ("audit_auditleaf", "account_id", "account_of_another"),
            ("audit_auditnode", "hash", b"h" * 32),
            ("audit_auditnode", "index", 7),
            ("audit_auditnode", "level", 16),
            ("audit_audithead", "root", b"h" * 32),
            ("audit_audithead", "signature", b"h" * 64),
            ("audit_audithead", "size", 255),
            ("audit_audithead", "time", "2026-01-01 00:00:00+00:00"),
            ("audit_audithead", "key_id", "0" * 16),
            ("audit_auditkey", "public_key", b"k" * 32),
            ("audit_auditkey", "key_id", "0" * 16),
            ("audit_audittree", "frontier", b"f" * 32),
            ("audit_audittree", "size", 3),
        ],
    )
    def test_a_change_in_any_of_its_columns_is_found(self, table: str, column: str, value: Any):
        sealed(257)
        name = connection.ops.quote_name(column)
        tamper(f"UPDATE {table} SET {name} = %s{' WHERE seq = 1' if table == 'audit_auditleaf' else ''}", value)
        assert not verify(ACCOUNT).holds
        with pytest.raises(CommandError):
            call_command("verify_audit")

    def test_a_leaf_that_fits_a_changed_entry_does_not_fit_the_tree(self):
        sealed(600)
        forge(300)
        finding = first_finding()
        assert (finding.kind, finding.seq) == (Kind.CHANGED, 256)
        assert "256 to 511" in finding.what

    def test_a_tree_that_fits_too_does_not_fit_the_heads(self):
        for _ in range(3):
            sealed(200)
        forge(300)
        fit_nodes()
        finding = first_finding()
        assert (finding.kind, finding.seq) == (Kind.HEAD, 200)
        assert "200 to 399" in finding.what

    def test_the_end_that_was_cut_off_is_missed_by_a_head(self):
        sealed(3)
        sealed(2)
        for seq in (3, 4):
            tamper("DELETE FROM audit_auditentry WHERE id = %s", entry_at(seq).pk)
            tamper("DELETE FROM audit_auditleaf WHERE seq = %s", seq)
        assert (first_finding().kind, first_finding().seq) == (Kind.MISSING, 3)


class TestPieces:
    """As API and console look at a long trail: each call sees some of it."""

    PIECES = ((0, 256), (256, 512), (512, 768))

    def held(self) -> list[bool]:
        return [verify(ACCOUNT, *piece).holds for piece in self.PIECES]

    def test_whoever_made_a_piece_fit_itself_and_took_its_heads_does_not_fit_the_newest(self):
        for size in (256, 10, 334):
            sealed(size)
        forge(10)
        fit_nodes()
        tamper("DELETE FROM audit_audithead WHERE size <= 256")
        assert self.held() == [False, False, False]
        findings = [verify(ACCOUNT, *piece).findings[0] for piece in self.PIECES]
        assert [(one.kind, one.seq) for one in findings] == [(Kind.HEAD, 0)] * 3

    def test_a_piece_is_not_blamed_for_another(self):
        for size in (256, 256, 88):
            sealed(size)
        tamper("UPDATE audit_auditentry SET actor_id = 'mallory' WHERE id = %s", entry_at(300).pk)
        assert self.held() == [True, False, True]

    @pytest.mark.parametrize(("hours", "piece"), [(-5, 0), (0, 0), (1, 1), (2, 2), (9, 2)])
    def test_what_was_added_beside_the_sealer_is_found_by_its_time(self, hours: int, piece: int):
        began = timezone.now()
        for number, size in enumerate((256, 256, 88)):
            with time_machine.travel(began + timedelta(hours=number), tick=False):
                sealed(size)
        with time_machine.travel(began + timedelta(hours=hours, minutes=1)):
            write(1)
        tamper("DELETE FROM audit_auditunsealed")
        assert self.held() == [number != piece for number in range(3)]
        assert not verify(ACCOUNT).holds

    def test_nothing_is_left_out_where_entries_have_left(self):
        sealed(600)
        for start in (0, 300):
            remove_entries(ACCOUNT, range(start, start + 300), reason="retention")
        write(1)
        tamper("DELETE FROM audit_auditunsealed WHERE entry_id = %s", AuditEntry.objects.latest("pk").pk)
        assert False in self.held()


class TestOutside:
    """What a database that fits itself cannot tell."""

    @pytest.fixture
    def head(self) -> Any:
        """Given out after five entries, of which two are lost again."""
        sealed(3)
        sealed(2)
        head = AuditHead.objects.get(account_id=ACCOUNT, size=5)
        given = outside_of(json.loads(json.dumps(head_as_json(head))))
        forget_after(3)
        assert verify(ACCOUNT).holds
        return given

    def test_an_end_that_was_cut_off_is_named(self, head: Any):
        finding = first_finding(outside=[head])
        assert (finding.kind, finding.seq) == (Kind.MISSING, 3)

    def test_an_older_back_up_that_went_on_is_named(self, head: Any):
        sealed(4)
        assert verify(ACCOUNT).holds
        finding = first_finding(outside=[head])
        assert (finding.kind, finding.seq) == (Kind.HEAD, 0)

    def test_what_was_the_same_in_both_is_told(self, head: Any):
        older = outside_of(head_as_json(AuditHead.objects.get(account_id=ACCOUNT, size=3)))
        sealed(4)
        assert first_finding(outside=[head, older]).seq == 3

    def test_a_key_that_was_replaced_is_named(self, settings: Any):
        sealed(3)
        given = outside_of(head_as_json(AuditHead.objects.get(account_id=ACCOUNT)))
        settings.AUDIT_KEYS = ["another"]
        sign_anew("another")
        assert verify(ACCOUNT).holds
        assert first_finding(outside=[given]).kind is Kind.KEY

    def test_a_key_that_is_another_than_that_of_the_trail_is_named(self, settings: Any):
        sealed(3)
        settings.AUDIT_KEYS = ["another"]
        with pytest.raises(CommandError, match="rotate_audit_key"):
            call_command("verify_audit")

    def test_the_file_of_heads_is_looked_at_by_itself(self, settings: Any, tmp_path: Path, capsys: Any):
        settings.AUDIT_ANCHOR_FILE = str(tmp_path / "heads.jsonl")
        sealed(3)
        post_heads()
        tamper("DELETE FROM audit_audithead WHERE account_id = %s", ACCOUNT)
        for table in ("audit_auditleaf", "audit_audittree", "audit_auditentry"):
            tamper(f"DELETE FROM {table} WHERE account_id = %s", ACCOUNT)
        with pytest.raises(CommandError):
            call_command("verify_audit")
        told = capsys.readouterr().out
        assert f"BAD    {ACCOUNT}" in told
        assert "heads.jsonl, line 1 has a head of size 3, and 0 are left" in told
