"""The keys that heads are signed with: rotated, endorsed, lost"""

import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.findings import Kind
from audit.models import AuditEntry, AuditHead, AuditKey
from audit.sealing import seal_all
from audit.signing import KeyRefused, key_of
from audit.verifying import verify
from tests.audit.trail import ACCOUNT, first_finding, sealed, tamper, write

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    settings.AUDIT_KEYS, settings.AUDIT_KEY_IS_IN_FILE = ["first"], False


class TestRotation:
    def test_heads_of_both_keys_hold(self, settings: Any, capsys: Any):
        sealed(2)
        settings.AUDIT_KEYS = ["second", "first"]
        call_command("rotate_audit_key")
        assert key_of("second").public.hex() in capsys.readouterr().out
        sealed(2)
        ids = list(AuditHead.objects.filter(account_id=ACCOUNT).order_by("size").values_list("key_id", flat=True))
        assert ids == [key_of("first").id, key_of("second").id]
        settings.AUDIT_KEYS = ["second"]
        assert verify(ACCOUNT).holds
        entry = AuditEntry.objects.get(act="trail.key_rotated")
        assert entry.changes["public_key"] == key_of("second").public.hex()
        assert entry.actor_id == "rotate_audit_key"

    def test_the_file_is_rewritten(self, settings: Any, tmp_path: Path):
        settings.AUDIT_KEY_IS_IN_FILE, settings.AUDIT_KEY_FILE = True, tmp_path / "audit.key"
        sealed(1)
        call_command("rotate_audit_key")
        new, old = settings.AUDIT_KEY_FILE.read_text().split()
        assert old == "first"
        assert stat.S_IMODE(settings.AUDIT_KEY_FILE.stat().st_mode) == 0o600
        assert AuditKey.objects.latest("pk").key_id == key_of(new).id

    def test_nobody_seals_with_the_old_one_any_more(self, settings: Any):
        sealed(1)
        settings.AUDIT_KEYS = ["second", "first"]
        call_command("rotate_audit_key")
        settings.AUDIT_KEYS = ["first"]
        with pytest.raises(KeyRefused):
            seal_all()

    def test_it_wants_the_old_one_to_endorse_the_new(self, settings: Any):
        sealed(1)
        settings.AUDIT_KEYS = ["second"]
        with pytest.raises(CommandError, match="--lost"):
            call_command("rotate_audit_key")
        settings.AUDIT_KEYS = ["first"]
        with pytest.raises(CommandError, match="in use already"):
            call_command("rotate_audit_key")

    def test_one_that_is_lost_is_told_of_for_ever(self, settings: Any):
        sealed(1)
        settings.AUDIT_KEYS = ["second"]
        call_command("rotate_audit_key", lost=True)
        sealed(1)
        assert first_finding().kind is Kind.KEY

    @pytest.mark.parametrize("column", ["endorsed_by", "endorsement"])
    def test_an_endorsement_that_was_changed_is_found(self, settings: Any, column: str):
        sealed(1)
        settings.AUDIT_KEYS = ["second", "first"]
        call_command("rotate_audit_key")
        value: Any = "x" if column == "endorsed_by" else b"e" * 64
        tamper(f"UPDATE audit_auditkey SET {column} = %s WHERE key_id = %s", value, key_of("second").id)
        assert first_finding().kind is Kind.KEY


class TestCommand:
    def test_it_says_of_each_trail_that_it_holds(self, capsys: Any):
        sealed(3)
        write(1)
        call_command("verify_audit")
        assert f"holds  {ACCOUNT}: 3 entries, 1 unsealed, head " in capsys.readouterr().out
        call_command("verify_audit", "--seal", "--account", ACCOUNT)
        assert f"holds  {ACCOUNT}: 4 entries, head " in capsys.readouterr().out

    def test_it_names_what_is_bad(self, capsys: Any):
        sealed(3)
        entry = AuditEntry.objects.filter(account_id=ACCOUNT).order_by("pk")[1]
        tamper("UPDATE audit_auditentry SET act = 'x' WHERE id = %s", entry.pk)
        with pytest.raises(CommandError, match="1 of 1 trails is not as sealed"):
            call_command("verify_audit")
        assert f"changed 1 ({entry.public_id}): The entry is another" in capsys.readouterr().out

    def test_it_says_what_is_no_head(self, tmp_path: Path):
        file = tmp_path / "heads"
        with pytest.raises(CommandError, match="No such file"):
            call_command("verify_audit", heads=[file])
        file.write_text("{}\n")
        with pytest.raises(CommandError, match="no head"):
            call_command("verify_audit", heads=[file])
