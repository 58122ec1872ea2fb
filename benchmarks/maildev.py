"""MailDev 3 with its mail on disk, to be measured beside: installed from npm once, into a folder outside the repository."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from benchmarks.lab import HOST, free_port, until
from benchmarks.load import send_for
from mailbot.quickstart.readiness import smtp_greets

VERSION = "3.0.0"
FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / f"mailbot-benchmarks/maildev-{VERSION}"
PROGRAM = FOLDER / "node_modules/.bin/maildev"


def is_there() -> bool:
    """Whether it can be run; installs it when node and npm are there. Says why not."""
    if not PROGRAM.exists() and shutil.which("node") and shutil.which("npm"):
        command = [
            "npm",
            "install",
            "--prefix",
            str(FOLDER),
            "--no-audit",
            "--no-fund",
            "--silent",
            f"maildev@{VERSION}",
        ]
        subprocess.run(command, check=False)
    if not PROGRAM.exists():
        print("MailDev is left out: it needs node and npm, and its package.")
    return PROGRAM.exists()


def rate(seconds: float, connections: int) -> float:
    """Mails a second that it accepted and has on disk, with the same load as ours. It does not flush."""
    with tempfile.TemporaryDirectory(prefix="mailbot-maildev-") as folder, _running(Path(folder)) as port:
        ledger = uvloop.run(send_for(port, seconds, connections))
        # It writes behind the 250.
        until(lambda: len(list(Path(folder).glob("*.eml"))) >= ledger.accepted, "MailDev's mail is on disk", 120)
        return ledger.accepted / (time.perf_counter() - ledger.began)


@contextmanager
def _running(folder: Path) -> Iterator[int]:
    port = free_port()
    where = [
        "--mail-directory",
        str(folder),
        "--smtp",
        str(port),
        "--ip",
        HOST,
        "--web",
        str(free_port()),
        "--web-ip",
        HOST,
    ]
    process = subprocess.Popen([str(PROGRAM), *where, "--silent"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: smtp_greets(HOST, port), "MailDev greets")
        yield port
    finally:
        process.kill()
        process.wait()
