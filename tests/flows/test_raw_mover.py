"""`kill -9` of whoever moves raw mail into the object store, at whatever moment: every byte is still there, and in one place at last."""

import contextlib
import os
import signal
import smtplib
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.conftest import ROOT, until

pytestmark = [pytest.mark.one_profile, pytest.mark.flows, pytest.mark.timeout(180)]

MAILS = 150
KILLED_AFTER = (1, 60, 10)  # objects
FREE_LEASES = """
from delivery.models import RawObject
from django.utils.timezone import now
RawObject.objects.filter(state="moving").update(lease_until=now())
"""
WHAT_IS_LEFT = """
from delivery.models import InboundMail, RawObject
left = InboundMail.objects.filter(raw_in_row=True, state="processed").count()
print(left, RawObject.objects.exclude(state="kept").count(), RawObject.objects.count())
"""


def mail(number: int) -> bytes:
    return f"Subject: move {number}\r\nMessage-ID: <{number}@moves.example>\r\n\r\n{'octets ' * (number * 7 % 900)}\r\n".encode()


def objects(var: Path) -> int:
    return sum(1 for _ in (var / "storage" / "raw").rglob("*.eml"))


def deliver(server: Any, address: str) -> None:
    host, port = server.smtp.split(":")
    with smtplib.SMTP(host, int(port), timeout=30) as smtp:
        for number in range(MAILS):
            smtp.sendmail("sender@moves.example", [address], mail(number))


def kill_a_mover(server: Any, after: int) -> bool:
    """Start one and kill it once it has written so many objects; whether it was still at work."""
    before = objects(server.var)
    command = [sys.executable, "manage.py", "move_raw", "--all"]
    mover = subprocess.Popen(
        command,
        cwd=ROOT,
        env=server.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: mover.poll() is not None or objects(server.var) >= before + after, "it writes objects")
    was_at_work = mover.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(mover.pid, signal.SIGKILL)
    mover.wait()
    return was_at_work


def is_whole(http: httpx.Client, inbox: str) -> bool:
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = http.get(f"/inboxes/{inbox}/messages", params={"limit": 100, "cursor": cursor}).json()
        found, cursor = found + page["data"], page["meta"]["next_cursor"]
    for message in found:
        raw = http.get(f"/inboxes/{inbox}/messages/{message['id']}/raw")
        assert (raw.status_code, raw.content) == (200, mail(int(message["subject"].split()[1])))
    return len(found) == MAILS


def test_it_loses_no_byte_whenever_it_is_killed(
    server: Any, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.flows.conftest.LOOKS_EVERY", 0.001)
    inbox = http.post("/inboxes", json={}).json()["data"]
    deliver(server, inbox["address"])
    until(lambda: http.get(f"/inboxes/{inbox['id']}").json()["data"]["message_count"] == MAILS, "all are visible")
    kills = 0
    for after in KILLED_AFTER:
        kills += kill_a_mover(server, after)
        assert is_whole(http, inbox["id"])
        server.manage("shell", "--verbosity", "0", "-c", FREE_LEASES)
    assert kills
    server.manage("move_raw", "--all")
    left, unfinished, kept = map(int, server.manage("shell", "--verbosity", "0", "-c", WHAT_IS_LEFT).split())
    assert (left, unfinished) == (0, 0)
    assert objects(server.var) == kept >= MAILS
    assert is_whole(http, inbox["id"])
