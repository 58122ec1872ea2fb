"""Bundles of evidence: what is in them, that they prove themselves, that they are gone on with and end."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from audit.actors import acting_as_system
from audit.export_writer import PIECE, BundleWriter
from audit.exports import expire_exports, make_exports
from audit.models import Export, ExportPart
from audit.record import Act, Entry, record_many
from audit.removal import remove_entries, replace_values
from mailbot.lib import object_store
from tests.audit.bundles import EXPORTS, ask, ask_for_all, download, made, make, octets, verified
from tests.audit.trail import ACCOUNT, sealed
from tests.cast import Caller
from tests.mailing import deliver, mail
from tests.stores import Store

pytestmark = pytest.mark.django_db
NASTY = '=HYPERLINK("x")\nsecond line, "quoted" \u202eright to left'


def lines(bundle: zipfile.ZipFile) -> list[dict[str, Any]]:
    return [json.loads(line)["entry"] for line in bundle.read("audit.jsonl").splitlines()]


def acts(caller: Caller, prefix: str) -> list[str]:
    entries = caller.get("/v1/audit-log", limit=100).json()["data"]
    return [entry["action"] for entry in reversed(entries) if entry["action"].startswith(prefix)]


class TestBundle:
    def test_it_holds_for_who_knows_nothing_of_us(self, alice: Caller, tmp_path: Path) -> None:
        deliver(mail(), alice.create_inbox())
        export = ask(alice)
        make()
        bundle = download(alice, export["id"])
        assert verified(bundle, tmp_path) == (0, {"holds": True, "findings": [], "untold_heads": []})
        told = alice.get(f"{EXPORTS}/{export['id']}").json()["data"]
        assert (told["status"], told["progress"], told["size"]) == ("done", 100, len(bundle))
        assert told["sha256"] == hashlib.sha256(bundle).hexdigest()

    def test_it_is_of_one_inbox(self, alice: Caller, tmp_path: Path) -> None:
        first, second = alice.create_inbox(), alice.create_inbox()
        for inbox in (first, second):
            deliver(mail(), inbox)
        export = ask(alice, inbox_id=first.pk)
        make()
        bundle = download(alice, export["id"])
        found = lines(zipfile.ZipFile(io.BytesIO(bundle)))
        assert {entry["inbox_id"] for entry in found} == {first.pk}
        assert found[-1]["action"] == "export.created"
        assert verified(bundle, tmp_path)[0] == 0

    def test_it_is_of_a_deleted_inbox_too(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        assert "inbox.deleted" in {entry["action"] for entry in lines(made(alice, inbox_id=inbox.pk))}

    def test_it_is_of_a_period(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        noon = timezone.now().replace(microsecond=0) + timedelta(hours=1)
        with time_machine.travel(noon, tick=False):
            deliver(mail(Subject="now"), inbox)
        period = {"from": noon.isoformat(), "to": (noon + timedelta(seconds=1)).isoformat()}
        bundle = made(alice, inbox_id=inbox.pk, include=["messages", "threads"], **period)
        assert [entry["action"] for entry in lines(bundle)] == ["message.received"]
        assert len([name for name in bundle.namelist() if name.endswith(".eml")]) == 1

    def test_it_has_nothing_of_the_other_mode(self, alice: Caller) -> None:
        live = alice.with_key(mode="live").create_inbox()
        mine = alice.create_inbox()
        found = {entry["inbox_id"] for entry in lines(made(alice))}
        assert mine.pk in found
        assert live.pk not in found

    def test_it_says_who_asked_and_why(self, alice: Caller) -> None:
        bundle = made(alice, reason="Complaint of Carol\n2041")
        manifest = json.loads(bundle.read("manifest.json"))
        assert manifest["export"]["asked_by"] == {"kind": "api_key", "id": alice.key.pk, "name": "Alice"}
        assert manifest["export"]["reason"] == "Complaint of Carol\n2041"
        assert set(manifest["files"]) == set(bundle.namelist()) - {"manifest.json"}
        readme = bundle.read("README.txt").decode()
        assert "Complaint of Carol 2041" in readme
        assert "verify_audit.py" in readme

    def test_cells_are_defused_and_whole(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        nasty = NASTY + ("" if connection.vendor == "postgresql" else "\0")  # which that cannot hold
        with acting_as_system("=1+1"):
            record_many([Entry(Act.INBOX_PAUSED, None, alice.account.pk, inbox.pk, {"reason": nasty})])
        table = made(alice, inbox_id=inbox.pk).read("audit.csv").decode()
        rows = list(csv.DictReader(io.StringIO(table, newline="")))
        (row,) = [row for row in rows if row["action"] == "inbox.paused"]
        assert row["actor_name"] == "'=1+1"
        assert json.loads(row["changes"]) == {"reason": nasty}


class TestMail:
    def test_messages_are_byte_for_byte(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        raw = mail(Subject=NASTY.replace("\n", " "), body="Hello\r\n<script>alert(1)</script>\r\n")
        deliver(raw, inbox)
        (message,) = alice.messages(inbox)
        bundle = made(alice, inbox_id=inbox.pk, include=["messages", "threads"])
        assert bundle.read(f"messages/{inbox.pk}/{message['id']}.eml") == (
            alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content
        )
        (row,) = csv.DictReader(io.StringIO(bundle.read("messages/index.csv").decode(), newline=""))
        assert row["subject"].startswith("'=HYPERLINK")
        page = bundle.read(f"threads/{inbox.pk}/{message['thread_id']}.html").decode()
        assert "&lt;script&gt;" in page
        assert "<script" not in page

    def test_none_without_being_asked_for(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        deliver(mail(body="the words of it"), inbox)
        names = made(alice, inbox_id=inbox.pk).namelist()
        assert names == ["README.txt", "audit.jsonl", "audit-proof.jsonl", "audit.csv", "manifest.json"]


class TestRights:
    def test_mail_takes_the_right_to_read_it(self, alice: Caller) -> None:
        auditor = alice.with_key(permissions=["audit:read"])
        assert auditor.post(EXPORTS, {"reason": "x", "include": ["messages"]}).status_code == 403
        export = ask(alice, include=["messages"])
        make()
        assert auditor.get(f"{EXPORTS}/{export['id']}/download").status_code == 403

    def test_a_key_of_some_inboxes_has_none(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        export = ask(alice, inbox_id=inbox.pk)
        limited = alice.with_key(inbox=inbox)
        assert limited.post(EXPORTS, {"reason": "x", "inbox_id": inbox.pk}).status_code == 403
        assert limited.get(f"{EXPORTS}/{export['id']}").status_code == 404

    def test_a_stranger_has_none(self, alice: Caller, charlie: Caller) -> None:
        inbox, export = alice.create_inbox(), ask(alice)
        assert charlie.get(f"{EXPORTS}/{export['id']}").status_code == 404
        assert charlie.get(f"{EXPORTS}/{export['id']}/download").status_code == 404
        assert charlie.post(EXPORTS, {"reason": "x", "inbox_id": inbox.pk}).status_code == 404

    def test_a_reason_is_required(self, alice: Caller) -> None:
        assert "reason" in alice.post(EXPORTS, {}).json()["error"]["fields"]

    def test_an_account_waits_for_few_at_once(self, alice: Caller) -> None:
        for _ in range(5):
            ask(alice)
        assert alice.post(EXPORTS, {"reason": "x"}).status_code == 409


class TestLife:
    def test_the_trail_tells_it(self, alice: Caller) -> None:
        export = ask(alice)
        make()
        download(alice, export["id"])
        with time_machine.travel(timezone.now() + timedelta(days=8)), acting_as_system("schedule"):
            expire_exports()
        told = ["export.created", "export.finished", "export.downloaded", "export.expired"]
        assert acts(alice, "export.") == told

    def test_it_cannot_be_downloaded_before_it_is_made(self, alice: Caller) -> None:
        export = ask(alice)
        assert alice.get(f"{EXPORTS}/{export['id']}/download").status_code == 409

    def test_nothing_is_left_of_one_that_is_expired(self, alice: Caller, store: Store) -> None:
        export = ask(alice)
        make()
        names = list(ExportPart.objects.values_list("name", flat=True))
        with time_machine.travel(timezone.now() + timedelta(days=8)), acting_as_system("schedule"):
            assert alice.get(f"{EXPORTS}/{export['id']}/download").status_code == 410
            assert expire_exports() == 1
        assert not any(map(object_store.exists, names))
        assert alice.get(f"{EXPORTS}/{export['id']}").json()["data"]["status"] == "expired"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.export_writer.PART", 1500)
    monkeypatch.setattr("audit.export_build.AT_ONCE", 7)


@pytest.mark.usefixtures("small_parts")
class TestWhatLeavesMeanwhile:
    """While the lines are written, entries leave the trail and the values of others are replaced."""

    @pytest.fixture
    def at_the(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
        def at_the(cut: int, act: Callable[[], object]) -> None:
            cuts = count(1)
            monkeypatch.setattr(
                "audit.export_build.failpoint", lambda name: name == "export.cut" and next(cuts) == cut and act()
            )

        return at_the

    @pytest.mark.parametrize("cut", [1, 2])
    def test_it_goes_by_a_newer_head(
        self, at_the: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cut: int
    ) -> None:
        monkeypatch.setattr("audit.bundle.READ", 7)
        sealed(400)
        at_the(cut, lambda: leave(range(380, 390)))
        export = ask_for_all(ACCOUNT)
        make()
        bundle = octets(export)
        assert verified(bundle, tmp_path) == (0, {"holds": True, "findings": [], "untold_heads": []})
        found = lines(zipfile.ZipFile(io.BytesIO(bundle)))
        assert len(found) == 393  # with who asked, and the two that say it
        assert [entry["action"] for entry in found[-2:]] == ["trail.removed", "trail.replaced"]

    def test_whoever_is_killed_behind_the_lines_leaves_a_bundle_that_holds(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        sealed(400)
        export = ask_for_all(ACCOUNT)

        def killed(name: str) -> None:
            if name == "export.lines":
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, acting_as_system("exporter"):
            patch.setattr("audit.export_build.failpoint", killed)
            with pytest.raises(KeyboardInterrupt):
                make_exports(600)
        leave(range(30))
        with time_machine.travel(timezone.now() + timedelta(hours=1)):
            make()
        assert verified(octets(export), tmp_path)[0] == 0


def leave(seqs: Iterable[int]) -> None:
    remove_entries(ACCOUNT, seqs, reason="retention")
    replace_values(ACCOUNT, {395: {"changes.to": ["person:1"]}}, reason="GDPR 17")


@pytest.mark.usefixtures("small_parts")
class TestGoingOn:
    def test_turns_make_one_bundle(self, alice: Caller, tmp_path: Path) -> None:
        inbox = alice.create_inbox()
        for number in range(30):
            deliver(mail(Subject=f"Mail {number}"), inbox)
        export = ask(alice, include=["messages", "threads"])
        with acting_as_system("exporter"):
            turns = 0
            while make_exports(0):
                turns += 1
        assert turns > 8
        bundle = download(alice, export["id"])
        assert verified(bundle, tmp_path)[0] == 0
        unpacked = zipfile.ZipFile(io.BytesIO(bundle))
        assert unpacked.testzip() is None
        assert len([name for name in unpacked.namelist() if name.endswith(".eml")]) == 30
        rows = list(csv.DictReader(io.StringIO(unpacked.read("audit.csv").decode(), newline="")))
        assert [row["id"] for row in rows] == [entry["id"] for entry in lines(unpacked)]

    def test_whoever_is_killed_leaves_what_is_gone_on_with(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After each part of it another process goes on."""
        inbox = alice.create_inbox()
        for number in range(10):
            deliver(mail(Subject=f"Mail {number}"), inbox)
        export = ask(alice, include=["messages"])
        number = 0

        def killed(name: str) -> None:
            nonlocal number
            if name == "export.cut":
                number += 1
                raise KeyboardInterrupt

        monkeypatch.setattr("audit.export_build.failpoint", killed)
        for hours in range(100):
            with time_machine.travel(timezone.now() + timedelta(hours=hours)), acting_as_system("exporter"):
                try:
                    make_exports(600)
                except KeyboardInterrupt:
                    continue
                break
        assert number > 3
        bundle = zipfile.ZipFile(io.BytesIO(download(alice, export["id"])))
        assert bundle.testzip() is None
        manifest = json.loads(bundle.read("manifest.json"))
        assert manifest["files"] == {
            name: hashlib.sha256(bundle.read(name)).hexdigest() for name in bundle.namelist() if name != "manifest.json"
        }

    @pytest.mark.parametrize("is_finished", [False, True], ids=["an open file", "a finished one"])
    def test_what_is_unpacked_again_comes_in_small_pieces(self, alice: Caller, is_finished: bool) -> None:
        """A trail is ten times as long as its zip, and whoever goes on holds neither."""
        export = Export.objects.get(pk=ask(alice)["id"])
        writer = BundleWriter(export)
        writer.begin("audit.jsonl")
        pieces = [bytes([65 + number]) * 1_000_003 for number in range(9)]
        for number, piece in enumerate(pieces):
            writer.add(piece)
            if number in (2, 3, 7):
                writer.cut({})
        if is_finished:
            writer.end()
        writer.cut({})
        again = BundleWriter(export)
        content = list(again.content_of(again.zip.members[0]) if is_finished else again.reopen())
        assert b"".join(content) == b"".join(pieces)
        assert max(map(len, content)) <= PIECE

    def test_a_store_that_is_away_is_waited_for(self, alice: Caller, store: Store) -> None:
        export = ask(alice)
        store.faults.is_down = True
        make()
        store.faults.mend()
        told = alice.get(f"{EXPORTS}/{export['id']}").json()["data"]
        assert told["status"] == "running"
        assert told["error"]
        with time_machine.travel(timezone.now() + timedelta(minutes=1)):
            make()
        assert alice.get(f"{EXPORTS}/{export['id']}").json()["data"]["status"] == "done"

    def test_a_store_that_loses_what_it_is_given_is_not_tried_for_ever(self, alice: Caller, store: Store) -> None:
        """Each turn ends with a part, and the next one finds that it is another one."""
        alice.create_inbox()
        export = ask(alice)
        turns = 0
        with acting_as_system("exporter"):
            while make_exports(0):
                turns += 1
                assert turns < 50
                for name in ExportPart.objects.values_list("name", flat=True):
                    object_store.write(name, b"other")
        told = alice.get(f"{EXPORTS}/{export['id']}").json()["data"]
        assert (told["status"], told["error"]) == ("failed", "The store loses what it was given.")

    def test_what_the_store_lost_is_made_anew(self, alice: Caller, store: Store) -> None:
        alice.create_inbox()
        export = ask(alice)
        with acting_as_system("exporter"):
            make_exports(0)
            object_store.write(ExportPart.objects.earliest("pk").name, b"other")
        make()
        assert alice.get(f"{EXPORTS}/{export['id']}").json()["data"]["status"] == "done"
        download(alice, export["id"])
