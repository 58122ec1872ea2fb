"""clients/verify_audit.py on a bundle, in a process that knows nothing of mailbot; it agrees with the server"""

import json
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from audit.bundle import ENTRIES_FILE, PROOF_FILE, AuditPart, NothingSealed
from audit.models import AuditEntry, AuditHead, AuditKey
from audit.removal import remove_entries, replace_values
from audit.sealing import seal_all
from audit.signing import head_as_json
from clients import verify_audit
from tests.audit.trail import ACCOUNT, entry_at, sealed

pytestmark = pytest.mark.django_db
PROGRAM = Path(verify_audit.__file__)


@pytest.fixture(autouse=True)
def one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.sealing.SQLITE_BATCH", 1000)


class Bundle:
    """A folder with the audit part of an export."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def write(self, part: AuditPart, *earlier: AuditHead) -> "Bundle":
        (self.folder / ENTRIES_FILE).write_bytes(b"".join(part.lines()))
        (self.folder / PROOF_FILE).write_bytes(b"".join(part.proof_lines()))
        self.manifest = {"audit": {**part.manifest(), "earlier": part.earlier(earlier)}}
        self.close()
        return self

    def close(self) -> None:
        """As whoever tampers with a file would, too."""
        files = {name: sha256((self.folder / name).read_bytes()).hexdigest() for name in (ENTRIES_FILE, PROOF_FILE)}
        (self.folder / "manifest.json").write_text(json.dumps({**self.manifest, "files": files}))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / ENTRIES_FILE).read_bytes().splitlines()]

    def put(self, lines: list[dict[str, Any]]) -> None:
        content = b"".join(verify_audit.canonical(line) + b"\n" for line in lines)
        (self.folder / ENTRIES_FILE).write_bytes(content)
        self.close()

    def findings(self, **options: Any) -> list[dict[str, Any]]:
        run = verify_audit.Verification(verify_audit.Export(self.folder), **options)
        return list(run.run())

    def first(self, **options: Any) -> tuple[str, int | None]:
        findings = self.findings(**options)
        assert findings, "it holds"
        return findings[0]["kind"], findings[0]["seq"]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path / "bundle")


def whole() -> AuditPart:
    return AuditPart(ACCOUNT)


def some(*seqs: int) -> AuditPart:
    return AuditPart(ACCOUNT, AuditEntry.objects.filter(pk__in=[entry_at(seq).pk for seq in seqs]))


class TestBundles:
    @pytest.mark.parametrize("size", [1, 255, 256, 257, 1100])
    def test_a_whole_trail_holds(self, bundle: Bundle, size: int):
        sealed(size)
        assert bundle.write(whole()).findings() == []
        assert len(bundle.lines()) == size

    @pytest.mark.parametrize("seqs", [(0,), (599,), (0, 599), (255, 256), (3, 4, 5, 300, 512), range(100, 400), ()])
    def test_a_part_of_it_holds(self, bundle: Bundle, seqs: Any):
        sealed(600)
        assert bundle.write(some(*seqs)).findings() == []
        assert [line["seq"] for line in bundle.lines()] == list(seqs)

    def test_it_holds_what_was_removed_and_replaced(self, bundle: Bundle):
        sealed(300)
        remove_entries(ACCOUNT, [1, 2, 7], reason="retention")
        replace_values(ACCOUNT, {9: {"changes.to": ["person:1"]}}, reason="GDPR 17")
        seal_all()
        assert bundle.write(whole()).findings() == []
        assert len(bundle.lines()) == 299
        assert bundle.write(some(9, 10)).findings() == []
        assert [line["seq"] for line in bundle.lines()] == [9, 10, 300, 301]

    def test_it_goes_on_from_earlier_heads(self, bundle: Bundle):
        sealed(3)
        earlier = AuditHead.objects.get(account_id=ACCOUNT)
        sealed(500)
        assert bundle.write(some(100), earlier).findings(kept=[head_as_json(earlier)]) == []
        bundle.manifest["audit"]["earlier"][0]["consistency"][0] = "00" * 32
        bundle.close()
        assert bundle.first() == ("head", None)

    def test_there_is_none_of_nothing(self):
        with pytest.raises(NothingSealed):
            whole()


class TestTampering:
    """In the exported files, manifest included: only the signed head is out of reach."""

    @pytest.mark.parametrize("name", [*verify_audit.PLAIN, "remote_addr", "object_name", "changes"])
    def test_a_change_of_any_field_is_named(self, bundle: Bundle, name: str):
        sealed(5)
        lines = bundle.write(whole()).lines()
        lines[2]["entry"][name] = {"to": ["mallory@example.com"]} if name == "changes" else "other"
        bundle.put(lines)
        assert ("changed", 2) in [(one["kind"], one["seq"]) for one in bundle.findings()][:2]

    @pytest.mark.parametrize("seq", [0, 2, 4])
    def test_a_line_that_was_removed_is_named(self, bundle: Bundle, seq: int):
        sealed(5)
        bundle.write(whole())
        bundle.put([line for line in bundle.lines() if line["seq"] != seq])
        assert bundle.first() == ("missing", seq)

    def test_a_line_that_was_added_is_named(self, bundle: Bundle):
        sealed(5)
        lines = bundle.write(whole()).lines()
        bundle.put([*lines[:3], lines[2], *lines[3:]])
        assert bundle.first() == ("reordered", 2)

    def test_lines_that_changed_places_are_named(self, bundle: Bundle):
        sealed(5)
        lines = bundle.write(whole()).lines()
        bundle.put([lines[0], lines[3], lines[2], lines[1], lines[4]])
        assert bundle.findings()[0]["kind"] in ("missing", "reordered")
        lines[1]["seq"], lines[3]["seq"] = 3, 1
        bundle.put([lines[0], lines[3], lines[2], lines[1], lines[4]])
        assert bundle.first()[1] == 1

    def test_a_line_that_fits_itself_does_not_fit_the_head(self, bundle: Bundle):
        sealed(600)
        lines = bundle.write(whole()).lines()
        lines[300]["entry"]["action"] = "message.sent"
        lines[300]["hash"] = verify_audit.leaf_hash(verify_audit.leaf_of(lines[300], 300)).hex()
        bundle.put(lines)
        findings = bundle.findings()
        assert ("changed", 256) in [(one["kind"], one["seq"]) for one in findings]
        assert "head" in [one["kind"] for one in findings]

    def test_an_end_that_was_cut_off_is_named(self, bundle: Bundle):
        sealed(5)
        bundle.write(whole())
        bundle.put(bundle.lines()[:3])
        assert bundle.first() == ("missing", 3)

    def test_an_older_head_does_not_hide_it_from_who_kept_a_newer_one(self, bundle: Bundle):
        sealed(3)
        older = whole()
        sealed(2)
        kept = [head_as_json(AuditHead.objects.get(account_id=ACCOUNT, size=5))]
        assert bundle.write(older).findings() == []
        assert bundle.first(kept=kept) == ("missing", 3)

    def test_a_key_of_somebody_else_is_none(self, bundle: Bundle):
        sealed(3)
        bundle.write(whole())
        known = bytes(AuditKey.objects.get().public_key)
        assert bundle.findings(pinned=known) == []
        assert bundle.first(pinned=b"k" * 32)[0] in ("key", "signature")
        bundle.manifest["audit"]["keys"][0]["public_key"] = (b"k" * 32).hex()
        bundle.close()
        assert {one["kind"] for one in bundle.findings()} == {"key", "signature"}

    def test_what_was_taken_out_by_the_way_is_missed_in_a_whole_trail(self, bundle: Bundle):
        """A proof in place of an entry says nothing of why it is not there."""
        sealed(5)
        bundle.write(some(0, 1, 3, 4))
        bundle.manifest["audit"]["complete"] = True
        bundle.close()
        assert bundle.first() == ("missing", 2)

    @pytest.mark.parametrize("where", ["entry", "line", "salts"])
    def test_what_was_never_sealed_is_named(self, bundle: Bundle, where: str):
        """A leaf is made of the fields that there are; who looks at the file sees the others, too."""
        sealed(3)
        lines = bundle.write(whole()).lines()
        place = lines[1]["entry"] if where == "entry" else lines[1]
        place["salts" if where == "salts" else "note"] = {"note": "00"} if where == "salts" else "approved by Alice"
        bundle.put(lines)
        (finding,) = bundle.findings()
        assert (finding["kind"], finding["seq"]) == ("changed", 1)
        assert where.replace("entry", "note").replace("line", "note") in finding["what"]

    def test_what_is_none_of_the_format_hides_nothing(self, bundle: Bundle):
        sealed(5)
        lines = bundle.write(whole()).lines()
        lines[1]["salts"] = 5
        lines[2]["replaced"] = {"actor_name": {"commitment": "00"}}
        lines[4]["entry"]["action"] = "message.sent"
        bundle.put(lines)
        assert [(one["kind"], one["seq"]) for one in bundle.findings()][:3] == [
            ("changed", 1),
            ("changed", 2),
            ("changed", 4),
        ]

    def test_the_first_of_many_is_named_first(self, bundle: Bundle):
        sealed(500)
        lines = bundle.write(whole()).lines()
        for line in lines[10:]:
            line["entry"]["action"] = "message.sent"
        bundle.put(lines)
        assert bundle.first() == ("changed", 10)

    def test_behind_a_gap_that_is_lost_the_others_are_not_blamed(self, bundle: Bundle):
        sealed(100)
        bundle.write(some(*range(0, 100, 10)))
        proof = (bundle.folder / PROOF_FILE).read_bytes().splitlines(keepends=True)
        (bundle.folder / PROOF_FILE).write_bytes(b"".join(proof[:2] + proof[3:]))
        bundle.close()
        assert [(one["kind"], one["seq"]) for one in bundle.findings()] == [("missing", 21)]

    def test_a_replacement_that_nobody_recorded_is_named(self, bundle: Bundle):
        sealed(3)
        lines = bundle.write(whole()).lines()
        original = verify_audit.commitment(
            verify_audit.salt_of(lines[1], "changes.to"), lines[1]["entry"]["changes"]["to"]
        )
        salts = {
            name: verify_audit.salt_of(lines[1], name).hex() for name in verify_audit.personal_of(lines[1]["entry"])
        }
        salt = salts.pop("changes.to")
        del lines[1]["salt"]
        lines[1] |= {"salts": salts, "replaced": {"changes.to": {"commitment": original, "salt": salt}}}
        lines[1]["entry"]["changes"]["to"] = ["mallory@example.com"]
        bundle.put(lines)
        assert bundle.first() == ("changed", 1)

    def test_another_file_than_the_manifest_names_is_found(self, bundle: Bundle):
        sealed(1)
        bundle.write(whole())
        with (bundle.folder / PROOF_FILE).open("ab") as file:
            file.write(b"\n")
        with pytest.raises(verify_audit.Unreadable):
            bundle.findings()

    def test_a_file_that_was_never_exported_is_found(self, bundle: Bundle, tmp_path: Path):
        """Mail that somebody slips into the zip, or a second file of a name, which another program than this one shows."""
        sealed(1)
        bundle.write(whole())
        export = tmp_path / "export.zip"
        with zipfile.ZipFile(export, "w") as zipped:
            zipped.writestr("messages/inbox_1/msg_1.eml", "From: mallory@example.com")
            zipped.writestr(ENTRIES_FILE, "{}")
            zipped.write(bundle.folder / PROOF_FILE, PROOF_FILE)
            zipped.write(bundle.folder / "manifest.json", "manifest.json")
            with pytest.warns(UserWarning, match="Duplicate name"):
                zipped.write(bundle.folder / ENTRIES_FILE, ENTRIES_FILE)
        findings = verify_audit.Verification(verify_audit.Export(export)).run()
        assert [(one["kind"], one["what"].partition(" ")[0]) for one in findings] == [
            ("file", "messages/inbox_1/msg_1.eml"),
            ("file", ENTRIES_FILE),
        ]
        (bundle.folder / "audit.csv").write_text("seq,id\n")
        assert bundle.findings()[0]["what"].startswith("audit.csv is no file of the export")


class TestProgram:
    """As a reviewer runs it: Python without this project on its path."""

    def run(self, *arguments: Any) -> subprocess.CompletedProcess[str]:
        cannot_import = "import sys, runpy; sys.argv = sys.argv[1:]; sys.modules.update(dict.fromkeys({blocked}, None))"
        blocked = ["audit", "mailbot", "django", "inboxes", "threads", "delivery", "clients"]
        script = cannot_import.format(blocked=blocked) + "; runpy.run_path(sys.argv[0], run_name='__main__')"
        command = [sys.executable, "-P", "-c", script, PROGRAM, *arguments]
        return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=30, cwd="/", env={})

    def test_it_tells_good_from_bad(self, bundle: Bundle, tmp_path: Path):
        sealed(300)
        bundle.write(some(3, 280))
        export = tmp_path / "export.zip"
        with zipfile.ZipFile(export, "w") as zipped:
            for file in bundle.folder.iterdir():
                zipped.write(file, file.name)
        key = bytes(AuditKey.objects.get().public_key).hex()
        good = self.run(export, "--key", key)
        assert (good.returncode, good.stderr) == (0, "")
        assert good.stdout.startswith(f"holds: 2 entries of {ACCOUNT}\n")
        assert "cannot be told from it" in good.stdout
        lines = bundle.lines()
        lines[0]["entry"]["object_id"] = "other"
        bundle.put(lines)
        bad = self.run(bundle.folder, "--json")
        assert bad.returncode == 1
        assert json.loads(bad.stdout)["findings"][0]["seq"] == 3
        assert self.run(tmp_path / "nothing.zip").returncode == 2

    def test_it_says_when_it_cannot_tell_of_a_head(self, bundle: Bundle, tmp_path: Path):
        heads = []
        for size in (3, 4, 300):
            sealed(size)
            heads.append(AuditHead.objects.filter(account_id=ACCOUNT).latest("pk"))
        bundle.write(some(100), heads[0])
        kept = tmp_path / "heads.jsonl"
        kept.write_text("".join(f"{json.dumps(head_as_json(head))}\n" for head in heads[:2]))
        told = self.run(bundle.folder, "--head", kept)
        assert told.returncode == 3
        assert "the heads that you kept of size 7 cannot be told" in told.stdout
        assert json.loads(self.run(bundle.folder, "--head", kept, "--json").stdout)["untold_heads"] == [7]
        bundle.write(some(100), *heads[:2])
        assert self.run(bundle.folder, "--head", kept).returncode == 0

    def test_a_line_that_is_no_head_is_named_and_the_others_count(self, bundle: Bundle, tmp_path: Path):
        sealed(3)
        head = json.dumps(head_as_json(AuditHead.objects.get(account_id=ACCOUNT)))
        bundle.write(whole())
        kept = tmp_path / "heads.jsonl"
        kept.write_bytes(head[:50].encode() + b"\n" + head.encode() + b"\n{\xff}\n" + b'{"size": 1}\n')
        told = self.run(bundle.folder, "--head", kept)
        assert told.returncode == 1
        assert [line for line in (1, 2, 3, 4) if f"heads.jsonl, line {line} is no head" in told.stdout] == [1, 3, 4]

    def test_heads_of_before_another_key_are_no_fault_for_who_knows_the_new_one(self, bundle: Bundle, settings: Any):
        sealed(3)
        earlier = AuditHead.objects.get(account_id=ACCOUNT)
        settings.AUDIT_KEYS, settings.AUDIT_KEY_IS_IN_FILE = ["another", *settings.AUDIT_KEYS], False
        call_command("rotate_audit_key", verbosity=0)
        sealed(300)
        bundle.write(some(100), earlier)
        old, new = (bytes(key.public_key).hex() for key in AuditKey.objects.order_by("pk"))
        assert [self.run(bundle.folder, "--key", key).returncode for key in (old, new)] == [0, 0]
        bundle.manifest["audit"]["earlier"][0]["head"]["root"] = "00" * 32
        bundle.close()
        assert [self.run(bundle.folder, "--key", key).returncode for key in (old, new)] == [1, 1]
