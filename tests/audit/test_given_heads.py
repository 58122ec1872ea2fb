"""Heads that exports show of before, for who has kept them."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from audit.anchors import post_heads
from audit.models import AuditHead
from audit.sealing import seal_all
from audit.signing import head_as_json
from tests.audit.bundles import ask, download, made, make, verified
from tests.cast import Caller

pytestmark = pytest.mark.django_db


class TestHeads:
    """That somebody kept of before: an export says itself that it goes on from them."""

    def kept(self, folder: Path, *heads: dict[str, Any]) -> str:
        file = folder / "heads.jsonl"
        file.write_text("".join(f"{json.dumps(head)}\n" for head in heads))
        return str(file)

    def test_those_of_earlier_exports(self, alice: Caller, tmp_path: Path) -> None:
        inbox = alice.create_inbox()
        alice.create_inbox()
        head = json.loads(made(alice).read("manifest.json"))["audit"]["head"]
        for _ in range(3):
            alice.create_inbox()
        export = ask(alice, inbox_id=inbox.pk)
        make()
        bundle = download(alice, export["id"])
        assert verified(bundle, tmp_path, "--head", self.kept(tmp_path, head)) == (
            0,
            {"holds": True, "findings": [], "untold_heads": []},
        )
        forged = self.kept(tmp_path, {**head, "root": "00" * 32})
        assert verified(bundle, tmp_path, "--head", forged)[1]["findings"][0]["kind"] == "key"

    def test_those_that_were_posted(self, alice: Caller, tmp_path: Path, settings: Any) -> None:
        settings.AUDIT_ANCHOR_FILE = str(tmp_path / "anchor")
        inbox = alice.create_inbox()
        alice.create_inbox()
        seal_all()
        post_heads()
        for _ in range(3):
            alice.create_inbox()
        export = ask(alice, inbox_id=inbox.pk)
        make()
        assert verified(download(alice, export["id"]), tmp_path, "--head", settings.AUDIT_ANCHOR_FILE)[0] == 0

    def test_the_last_of_each_day(self, alice: Caller, tmp_path: Path) -> None:
        inbox, heads = alice.create_inbox(), []
        noon = timezone.now().replace(hour=12, minute=0)
        for days in (1, 2, 3):
            for hours in (0, 1):
                with time_machine.travel(noon + timedelta(days=days, hours=hours)):
                    alice.create_inbox()
                    alice.create_inbox()
                    seal_all()
                    heads.append(head_as_json(AuditHead.objects.filter(account_id=alice.account.pk).latest("pk")))
        with time_machine.travel(noon + timedelta(days=4)):
            export = ask(alice, inbox_id=inbox.pk)
            make()
            bundle = download(alice, export["id"])
        assert verified(bundle, tmp_path, "--head", self.kept(tmp_path, *heads[1::2]))[0] == 0
        code, told = verified(bundle, tmp_path, "--head", self.kept(tmp_path, *heads))
        assert (code, told["untold_heads"]) == (3, [head["size"] for head in heads[::2]])
