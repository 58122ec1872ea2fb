"""What is told to Sentry, over HTTP, and what is not."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

SECRET = "mb_test_" + "a2" * 16
# A fault of ours in the middle of a call that brings mail: what it raises quotes the mail, as do the variables around it.
CALL = f"""
import asyncio
from unittest import mock
import httpx
from mailbot.asgi import application

def fails(secret):
    quoted = "hidden-subject"
    raise {{error}}("cannot read hidden-subject of bob@example.com with {SECRET}")

async def call():
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.post(
            "/v1/inboxes?page=hidden-query",
            json={{{{"name": "hidden-body"}}}},
            headers={{{{"Authorization": "Bearer {SECRET}", "X-Request-Id": "req_of_the_test", "Cookie": "sessionid=hidden-cookie"}}}},
        )

with mock.patch("inboxes.api.authentication.find_key", fails):
    answer = asyncio.run(call())
assert answer.status_code == 500, answer.content
"""
TASK = """
import django
django.setup()
from unittest import mock
from mailbot.celery import app
app.conf.task_always_eager = True
from delivery.tasks import process_inbound

with mock.patch("delivery.tasks.process_batch", side_effect=AttributeError("no such attribute")):
    process_inbound.delay()
"""


class Sentry:
    def __init__(self) -> None:
        self.envelopes: list[bytes] = []

    def events(self) -> list[dict[str, Any]]:
        """An envelope is lines of JSON: a head, and for each item its head and itself."""
        found = [json.loads(line) for envelope in self.envelopes for line in envelope.splitlines()[2::2]]
        return [item for item in found if "level" in item]


@pytest.fixture
def sentry() -> Iterator[tuple[Sentry, str]]:
    heard = Sentry()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.envelopes.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield heard, f"http://public@127.0.0.1:{server.server_port}/1"
    server.shutdown()
    server.server_close()


def run(program: str, var: Path, dsn: str) -> None:
    environment = {
        **os.environ,
        "MAILBOT_VAR": str(var),
        "SENTRY_DSN": dsn,
        "DJANGO_SETTINGS_MODULE": "mailbot.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr


class TestRequests:
    @pytest.mark.parametrize("error", ["ValueError", "TypeError"])
    def test_it_tells_where_the_fault_is_and_nothing_that_was_brought(
        self, sentry: tuple[Sentry, str], tmp_path: Path, error: str
    ) -> None:
        heard, dsn = sentry
        run(CALL.format(error=error), tmp_path, dsn)
        (event,) = heard.events()
        told = event["exception"]["values"][-1]  # behind what it was raised in the middle of
        assert told["type"] == error
        assert told["stacktrace"]["frames"][-1]["function"] == "fails"
        assert not any("vars" in frame for frame in told["stacktrace"]["frames"])
        assert event["tags"] == {"request_id": "req_of_the_test"}
        assert event["release"] == f"mailbot@{settings.VERSION}"
        assert event["logentry"]["message"] == "Unexpected error in %s"
        assert event["request"] == {"method": "POST", "url": "http://localhost/v1/inboxes"}
        sent = b"".join(heard.envelopes).decode()
        for hidden in ("hidden-query", "hidden-body", "hidden-cookie", SECRET, "bob@example.com"):
            assert hidden not in sent
        assert ("hidden-subject" in told["value"]) == (error == "TypeError")  # whose text speaks of code

    def test_without_a_dsn_the_library_is_not_even_imported(self, tmp_path: Path) -> None:
        run("import django, sys; django.setup(); assert 'sentry_sdk' not in sys.modules", tmp_path, "")


class TestTasks:
    def test_it_tells_which_task(self, sentry: tuple[Sentry, str], tmp_path: Path) -> None:
        heard, dsn = sentry
        run(TASK, tmp_path, dsn)
        (event,) = heard.events()
        assert event["transaction"] == "delivery.tasks.process_inbound"
        assert event["exception"]["values"][-1]["value"] == "no such attribute"
        assert "extra" not in event
