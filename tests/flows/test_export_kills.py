"""`kill -9` of whoever makes an export, at each point and at whatever moment: the next one goes on, and the bundle is whole."""

import csv
import hashlib
import io
import json
import os
import random
import smtplib
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.audit.bundles import verified
from tests.flows.conftest import ROOT, until

pytestmark = [pytest.mark.flows, pytest.mark.timeout(300)]

MAILS = 60
AT_POINTS = ["export.stored=kill,nth=1", "export.cut=kill,nth=1", "export.stored=kill,nth=2", "export.cut=kill,nth=3"]
AT_MOMENTS = 4
KINDS = ["messages", "threads", "threads_pdf"]


def mail(number: int) -> bytes:
    chance = random.Random(number)
    words = " ".join(f"{chance.getrandbits(64):x}" for _ in range(300))
    return f"Subject: export {number}\r\nMessage-ID: <{number}@exports.example>\r\n\r\n{words}\r\n".encode()


def deliver(server: Any, address: str) -> None:
    host, port = server.smtp.split(":")
    with smtplib.SMTP(host, int(port), timeout=30) as smtp:
        for number in range(MAILS):
            smtp.sendmail("sender@exports.example", [address], mail(number))


def exporter(server: Any, what: str, failpoints: str = "") -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.flows.exporter", what],
        cwd=ROOT,
        env={**server.environment, "MAILBOT_FAILPOINTS": failpoints},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def objects(var: Path, export_id: str) -> list[Path]:
    """Those that are whole, in their order."""
    folder = var / "storage" / "exports" / export_id
    return sorted(folder.glob("[0-9]*")) if folder.exists() else []


def kill_at_a_moment(server: Any, export_id: str, chance: random.Random) -> None:
    """Once it has written some objects more; wherever it is then."""
    before = len(objects(server.var, export_id))
    maker = exporter(server, "make")
    more = chance.randint(1, 3)
    until(lambda: maker.poll() is not None or len(objects(server.var, export_id)) >= before + more, "it writes")
    maker.kill()
    maker.wait()


def is_killed(maker: "subprocess.Popen[bytes]") -> bool:
    return maker.wait() == -9


def test_whoever_is_killed_leaves_what_the_next_one_goes_on_with(
    server: Any, http: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.flows.conftest.LOOKS_EVERY", 0.001)
    inbox = http.post("/inboxes", json={}).json()["data"]
    deliver(server, inbox["address"])
    until(lambda: http.get(f"/inboxes/{inbox['id']}").json()["data"]["message_count"] == MAILS, "all are visible")
    server.kill("worker", "beat")
    body = {"inbox_id": inbox["id"], "include": KINDS, "reason": "killed while it is made"}
    export_id = http.post("/audit-log/exports", json=body).json()["data"]["id"]
    path = f"/audit-log/exports/{export_id}"

    for failpoints in AT_POINTS:
        assert is_killed(exporter(server, "make", failpoints)), failpoints
    chance = random.Random(int(os.environ.get("MAILBOT_SEED", 7)))
    for _ in range(AT_MOMENTS):
        kill_at_a_moment(server, export_id, chance)
    assert is_killed(exporter(server, "make", "export.read-back=kill"))
    assert http.get(path).json()["data"]["status"] == "running"
    assert exporter(server, "make").wait() == 0
    assert http.get(path).json()["data"]["status"] == "done"

    octets = http.get(f"{path}/download").content
    assert verified(octets, tmp_path) == (0, {"holds": True, "findings": [], "untold_heads": []})
    check(octets, inbox["id"])
    assert b"".join(part.read_bytes() for part in objects(server.var, export_id)) == octets
    assert acts(http, "export.") == {"export.created": 1, "export.finished": 1, "export.downloaded": 1}

    assert is_killed(exporter(server, "expire", "export.removing=kill,nth=2"))
    assert http.get(f"{path}/download").status_code == 410
    assert objects(server.var, export_id)
    assert exporter(server, "expire").wait() == 0
    assert not (server.var / "storage" / "exports" / export_id).exists()  # nor what killed processes had begun to write
    assert acts(http, "export.expired") == {"export.expired": 1}


def check(octets: bytes, inbox_id: str) -> None:
    """Each file once and as the manifest says, each entry and each mail once."""
    bundle = zipfile.ZipFile(io.BytesIO(octets))
    names = bundle.namelist()
    assert len(names) == len(set(names))
    sums = {name: hashlib.sha256(bundle.read(name)).hexdigest() for name in names if name != "manifest.json"}
    assert sums == json.loads(bundle.read("manifest.json"))["files"]
    entries = [json.loads(line)["entry"]["id"] for line in bundle.read("audit.jsonl").splitlines()]
    assert len(entries) == len(set(entries))
    rows = csv.DictReader(io.StringIO(bundle.read("audit.csv").decode(), newline=""))
    assert [row["id"] for row in rows] == entries
    kinds = Counter(name.rpartition(".")[2] for name in names if name.startswith(("messages/", "threads/")))
    assert kinds == {"eml": MAILS, "csv": 1, "html": MAILS, "pdf": MAILS}
    wanted = sorted(mail(number) for number in range(MAILS))
    assert sorted(bundle.read(name) for name in names if name.endswith(".eml")) == wanted
    assert f"messages/{inbox_id}/" in "".join(names)


def acts(http: httpx.Client, prefix: str) -> Counter[str]:
    entries = http.get("/audit-log", params={"limit": 100}).json()["data"]
    return Counter(entry["action"] for entry in entries if entry["action"].startswith(prefix))
