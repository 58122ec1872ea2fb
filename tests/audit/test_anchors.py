"""Heads outside of the database: a file, a webhook, a mail address"""

import json
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from audit.anchors import heads_in, post_heads
from audit.models import AuditAnchor, AuditHead
from audit.signing import head_as_json
from audit.verifying import verify
from tests.audit.trail import ACCOUNT, sealed, tamper

pytestmark = pytest.mark.django_db


class Webhook(ThreadingHTTPServer):
    """Takes whatever is posted, and answers with `status`; of more than a few it is tired."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.bodies: list[bytes] = []
        self.status = 204
        self.patience = 3
        self.url = f"http://127.0.0.1:{self.server_port}/heads"


class Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        hook: Any = self.server
        hook.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(hook.status if len(hook.bodies) <= hook.patience else 503)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def anchor_file(settings: Any, tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "heads.jsonl"
    settings.AUDIT_ANCHOR_FILE = str(path)
    return path


def newest() -> dict[str, Any]:
    return head_as_json(AuditHead.objects.filter(account_id=ACCOUNT).latest("size"))


def later() -> Any:
    return time_machine.travel(timezone.now() + timedelta(hours=2))


class TestFile:
    def test_it_has_a_line_for_each_head_that_was_posted(self, anchor_file: Path):
        sealed(2)
        first = newest()
        assert post_heads() == 1
        sealed(1)
        assert post_heads() == 0  # it is not time yet
        with later():
            assert post_heads() == 1
            assert post_heads() == 0  # nothing has changed
        assert [json.loads(line) for line in anchor_file.read_text().splitlines()] == [first, newest()]
        heads, findings = heads_in(anchor_file)
        assert (len(heads), findings, verify(ACCOUNT, outside=heads).holds) == (2, [], True)

    def test_none_is_kept_where_none_is_wanted(self, settings: Any, anchor_file: Path):
        settings.AUDIT_ANCHOR_FILE = "-"
        sealed(1)
        assert post_heads() == 0
        assert not anchor_file.exists()

    def test_a_place_that_fails_is_tried_again_and_shown(self, anchor_file: Path, capsys: Any):
        anchor_file.parent.write_text("no folder")
        sealed(1)
        assert post_heads() == 0
        call_command("verify_audit")
        assert "anchor file: not told yet; failed 1 times since:" in capsys.readouterr().out
        anchor_file.parent.unlink()
        assert post_heads() == 0
        with later():
            assert post_heads() == 1
        assert AuditAnchor.objects.get(pk="file").failures == 0


def no_room_after(octets: int, monkeypatch: pytest.MonkeyPatch, *, only_grows: bool = False) -> None:
    """A disk that is full behind so many more, until the patch is undone."""

    def write(descriptor: int, content: bytes) -> int:
        return original(descriptor, content[:octets])

    def truncate(*_: Any) -> None:
        raise PermissionError("Operation not permitted")

    original = os.write
    monkeypatch.setattr(os, "write", write)
    if only_grows:
        monkeypatch.setattr(os, "ftruncate", truncate)


class TestFullDisk:
    def test_half_a_line_is_no_head_that_was_posted(self, anchor_file: Path, monkeypatch: pytest.MonkeyPatch):
        sealed(1)
        assert post_heads() == 1
        before = anchor_file.read_bytes()
        sealed(1)
        with later():
            with monkeypatch.context() as patch:
                no_room_after(40, patch)
                assert post_heads() == 0
            assert anchor_file.read_bytes() == before
            assert AuditAnchor.objects.get(pk="file").error.startswith("Only 40 of ")
        with time_machine.travel(timezone.now() + timedelta(hours=4)):
            assert post_heads() == 1
        assert [head.size for head in heads_in(anchor_file)[0]] == [1, 2]

    def test_what_cannot_be_taken_back_spoils_no_other_head(
        self, anchor_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
    ):
        sealed(1)
        with monkeypatch.context() as patch:
            no_room_after(40, patch, only_grows=True)
            assert post_heads() == 0
        with later():
            assert post_heads() == 1
        torn, whole = anchor_file.read_text().splitlines()
        assert (len(torn), json.loads(whole)) == (40, newest())
        with pytest.raises(CommandError, match=r"heads\.jsonl, line 1 is no head"):
            call_command("verify_audit")
        told = capsys.readouterr().out
        assert f"holds  {ACCOUNT}: 1 entries" in told
        assert "signature: heads.jsonl, line 1 is no head" in told


LIKE_A_HEAD = {"account_id": ACCOUNT, "size": 1, "root": "00", "time": "", "key": "00", "signature": "00"}
WRONG: list[dict[str, Any]] = [
    {"account_id": ACCOUNT, "size": 1, "root": "00"},
    *(LIKE_A_HEAD | {"size": size} for size in (None, float("inf"))),
    *(LIKE_A_HEAD | {"root": root} for root in (1, "g")),
    *(LIKE_A_HEAD | {"signature": signature} for signature in (None, "half")),
    LIKE_A_HEAD | {"key": ["00"]},
]


class TestReading:
    @pytest.mark.parametrize(
        "line",
        [b"{", b"{}", b'{"account_id": "\xff"}', b'{"size": ' * 100_000, *(json.dumps(one).encode() for one in WRONG)],
        ids=lambda line: line[-40:].decode("ascii", "replace"),
    )
    def test_a_line_that_is_no_head_is_named_and_the_others_count(self, line: bytes, anchor_file: Path):
        sealed(1)
        post_heads()
        whole = anchor_file.read_bytes()
        anchor_file.write_bytes(b"Dear reviewer,\n" + line + b"\n" + whole)
        heads, findings = heads_in(anchor_file)
        assert [head.from_where for head in heads] == ["heads.jsonl, line 3"]
        assert [one.what[:32] for one in findings] == ["heads.jsonl, line 2 is no head ("]
        with pytest.raises(CommandError, match="line 2 is no head"):
            call_command("verify_audit")


class TestMail:
    def test_it_holds_the_heads(self, settings: Any):
        settings.AUDIT_ANCHOR_MAIL = "reviewer@example.com"
        sealed(1)
        assert post_heads() == 2
        (message,) = mail.outbox
        assert message.to == ["reviewer@example.com"]
        assert json.loads(next(line for line in message.body.splitlines() if line.startswith("{"))) == newest()


class TestWebhook:
    def test_it_is_told_the_heads(self, settings: Any, webhook: Webhook):
        settings.FETCH_ALLOW = ["127.0.0.1"]
        settings.AUDIT_ANCHOR_WEBHOOK = webhook.url
        sealed(1)
        assert post_heads() == 2
        assert [json.loads(body) for body in webhook.bodies] == [{"heads": [newest()]}]

    def test_it_leads_nowhere_inside(self, settings: Any, webhook: Webhook):
        settings.AUDIT_ANCHOR_WEBHOOK = webhook.url
        sealed(1)
        post_heads()
        assert not webhook.bodies
        assert "127.0.0.1" in AuditAnchor.objects.get(pk="webhook").error

    def test_a_no_is_a_failure(self, settings: Any, webhook: Webhook):
        settings.FETCH_ALLOW = ["127.0.0.1"]
        settings.AUDIT_ANCHOR_WEBHOOK = webhook.url
        webhook.status = 500
        sealed(1)
        post_heads()
        assert AuditAnchor.objects.get(pk="webhook").error == "The webhook answers 500."
        webhook.status = 204
        with later():
            assert post_heads() == 1


class TestTamperedTrees:
    """Who writes to the database can make a tree larger than its heads."""

    @pytest.fixture(autouse=True)
    def hook(self, settings: Any, webhook: Webhook) -> Webhook:
        settings.AUDIT_ANCHOR_FILE = "-"
        settings.FETCH_ALLOW = ["127.0.0.1"]
        settings.AUDIT_ANCHOR_WEBHOOK = webhook.url
        return webhook

    def test_a_tree_whose_newest_head_is_gone_is_told_of_once(self, hook: Webhook):
        sealed(2)
        sealed(1)
        told = newest()
        sealed(1)
        tamper("DELETE FROM audit_audithead WHERE account_id = %s AND size = 4", ACCOUNT)
        assert post_heads() == 1
        with later():
            assert post_heads() == 0
        assert [json.loads(body) for body in hook.bodies] == [{"heads": [told]}]

    def test_one_without_any_head_keeps_no_other_from_being_told(self, hook: Webhook, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("audit.anchors.AT_ONCE", 1)
        sealed(1, "account_a")
        sealed(1)
        tamper("DELETE FROM audit_audithead WHERE account_id = 'account_a'")
        assert post_heads() == 1
        assert [json.loads(body) for body in hook.bodies] == [{"heads": [newest()]}]

    def test_a_size_that_was_raised_is_no_news(self, hook: Webhook):
        sealed(1)
        assert post_heads() == 1
        tamper("UPDATE audit_audittree SET size = 1000 WHERE account_id = %s", ACCOUNT)
        with later():
            assert post_heads() == 0
        assert len(hook.bodies) == 1
