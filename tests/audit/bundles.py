"""Exports that are asked for, made and unpacked; and the verifier that knows nothing of us."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from audit.actors import acting_as_system
from audit.exports import ask_for_export, make_exports, octets_of_export
from audit.models import Export
from tests.cast import Caller

CLIENT = Path(__file__).parents[2] / "clients" / "verify_audit.py"
EXPORTS = "/v1/audit-log/exports"


def ask(caller: Caller, **body: Any) -> dict[str, Any]:
    answer = caller.post(EXPORTS, {"reason": "Complaint 2041", **body})
    assert answer.status_code == 202, answer.content
    return dict(answer.json()["data"])


def make(seconds: float = 600) -> None:
    """What the worker would do, until there is nothing left to do."""
    with acting_as_system("exporter"):
        while make_exports(seconds):
            pass


def download(caller: Caller, export_id: str) -> bytes:
    answer = caller.get(f"{EXPORTS}/{export_id}/download")
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content)


def made(caller: Caller, **body: Any) -> zipfile.ZipFile:
    export = ask(caller, **body)
    make()
    return zipfile.ZipFile(io.BytesIO(download(caller, export["id"])))


def ask_for_all(account_id: str) -> Export:
    """Of the account, in both modes, as the console asks for it."""
    period: dict[str, Any] = {"since": None, "until": None}
    with acting_as_system("reviewer"):
        return ask_for_export(account_id=account_id, inbox_id="", mode="", include=[], reason="Complaint", **period)


def octets(export: Export) -> bytes:
    export.refresh_from_db()
    assert export.status == "done", export.error
    return b"".join(octets_of_export(export))


def verified(bundle: bytes, folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """In a process of its own, from a folder in which no code of ours is, isolated from the environment."""
    path = folder / "export.zip"
    path.write_bytes(bundle)
    run = subprocess.run(
        [sys.executable, "-I", str(CLIENT), str(path), "--json", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 2, run.stderr
    return run.returncode, dict(json.loads(run.stdout))
