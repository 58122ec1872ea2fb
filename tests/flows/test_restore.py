"""docs/backup.md, done: a back-up while mail is queued, mail sent after it, a restore, and nothing sent twice."""

import contextlib
import os
import sqlite3
import subprocess
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.flows.conftest import Server, a_server, until
from tests.flows.private_servers import postgresql_programs

pytestmark = [pytest.mark.flows, pytest.mark.timeout(180)]


def back_up(server: Server, file: Path) -> None:
    if url := server.environment["DATABASE_URL"]:
        pg("pg_dump", "--format=custom", f"--file={file}", url)
        return
    with sqlite3.connect(server.var / "mailbot.sqlite3") as database, sqlite3.connect(file) as copy:
        database.backup(copy)


def restore(server: Server, file: Path) -> None:
    """Nothing of it runs."""
    if url := server.environment["DATABASE_URL"]:
        name = url.rpartition("/")[2]
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')
        pg("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={url}", str(file))
    else:
        for rest in server.var.glob("mailbot.sqlite3*"):
            rest.unlink()
        (server.var / "mailbot.sqlite3").write_bytes(file.read_bytes())
    server.manage("migrate", "--verbosity", "0")


def pg(program: str, *arguments: str) -> None:
    done = subprocess.run([postgresql_programs() / program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def let_a_minute_pass(server: Server) -> None:
    """As far as the outbox can tell: its number rises with the worker's next look, which is its first."""
    server.kill("worker")  # first, or it looks in between, and the next look comes a minute later
    before = outbox(server)
    code = (
        "from delivery.models import OutboxState as S; from datetime import timedelta as t; "
        "row = S.objects.get(); row.advanced_at -= t(minutes=2); row.save()"
    )
    server.manage("shell", "--no-imports", "--command", code)
    server.start("worker")
    until(lambda: outbox(server) != before, "the number rises")
    # In the database first. No mail leaves before it is outside, too.
    until(lambda: outbox(server)[0] == outside(server), "the number is written down outside")


def outbox(server: Server) -> tuple[int, bool]:
    """The number of the outbox, and whether it is paused. Looked up as often as one likes: a command is a start of Django."""
    asked = "SELECT epoch, is_paused FROM delivery_outboxstate"
    if url := server.environment["DATABASE_URL"]:
        with psycopg.connect(url) as connection:
            row = connection.execute(asked).fetchone()
    else:
        with contextlib.closing(sqlite3.connect(server.var / "mailbot.sqlite3")) as database:
            row = database.execute(asked).fetchone()
    assert row is not None
    return int(row[0]), bool(row[1])


def outside(server: Server) -> int:
    (record,) = (server.var / "state").glob("outbox_*")
    return int(record.read_text().split()[0])


def test_a_restored_database_sends_nothing_until_somebody_says_so(tmp_path: Path) -> None:
    (var := tmp_path / "var").mkdir()
    with a_server(var, MAILBOT_RELAY="console:") as server:
        headers = {"Authorization": f"Bearer {server.issue_key(mode='live')}"}
        with httpx.Client(base_url=f"{server.url}/v1", headers=headers, timeout=30, verify=False) as http:
            inbox = http.post("/inboxes", json={}).json()["data"]["id"]

            def send(subject: str) -> str:
                body = {"to": "customer@example.com", "subject": subject, "body_text": "Hello"}
                return str(http.post(f"/inboxes/{inbox}/messages", json=body).json()["data"]["id"])

            def state(message: str) -> str:
                return str(http.get(f"/inboxes/{inbox}/messages/{message}").json()["data"]["status"])

            first = send("first")
            until(lambda: state(first) == "sent", "the first mail is sent")
            server.kill("worker", "beat")
            second = send("second")
            back_up(server, tmp_path / "backup")
            server.start("worker", "beat")
            until(lambda: state(second) == "sent", "the second mail is sent")
            let_a_minute_pass(server)

            server.kill_everything()
            restore(server, tmp_path / "backup")
            server.start(*server.commands)
            until(lambda: outbox(server)[1], "the outbox pauses itself")
            assert "older than it was" in server.manage("outbox", "status")
            third = send("third")
            assert (state(first), state(second), state(third)) == ("sent", "queued", "queued")
            assert printed(server, "second") == 1

            server.manage("outbox", "resume", "--reason", "it is a test")
            until(lambda: state(second) == state(third) == "sent", "mail is sent again")
            assert (printed(server, "first"), printed(server, "second"), printed(server, "third")) == (1, 2, 1)


def printed(server: Server, subject: str) -> int:
    """How many times a mail was handed out."""
    return (server.var / "worker.log").read_text(errors="replace").count(f"Subject: {subject}\n")
