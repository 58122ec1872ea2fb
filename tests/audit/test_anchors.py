"""Heads outside of the database: a file, a webhook, a mail address"""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.management import call_command
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
        assert verify(ACCOUNT, outside=list(heads_in(anchor_file))).holds

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
