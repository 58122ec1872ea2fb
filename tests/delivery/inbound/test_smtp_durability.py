"""A 250 is a promise: it comes after the commit, or not at all."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import OperationalError, connection, transaction

from delivery.inbound.receive import Outcome, StorageError, StorageFull, store_inbound_mail
from delivery.models import InboundMail
from inboxes.models import Inbox
from mailbot.lib.scope import OWNER, acting_within
from tests.delivery.inbound.conftest import PATIENCE, Client, stored_mails

MAIL = b"Subject: kept\r\n\r\nwhatever happens\r\n"
SHORT = 2  # seconds; the look-up of an inbox, which may open a connection, has no more either


class TestPromise:
    def test_it_says_nothing_before_the_commit(self, start_smtp, inbox):
        clients: list[Client] = []

        def store(mails):
            assert select.select([clients[0].socket], [], [], 0.1)[0] == []
            outcomes = store_inbound_mail(mails)
            assert select.select([clients[0].socket], [], [], 0)[0] == []
            return outcomes

        clients.append(start_smtp(store=store).client())
        assert clients[0].deliver(inbox.address, MAIL) == "250 2.0.0 OK"
        assert stored_mails() == [MAIL]

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (StorageFull("no space"), "452 4.3.1"),
            (StorageError("gone"), "451 4.3.0"),
            (RuntimeError("a bug"), "451 4.3.0"),
        ],
    )
    def test_it_asks_to_try_again_when_the_mail_cannot_be_stored(self, start_smtp, inbox, error, code):
        def store(mails):
            raise error

        client = start_smtp(store=store).client()
        assert client.deliver(inbox.address, MAIL).startswith(code)
        assert client.command("NOOP") == "250 2.0.0 OK"

    def test_it_asks_to_try_again_for_one_mail_that_the_database_refuses(self, start_smtp, inbox):
        client = start_smtp(store=lambda mails: [Outcome.UNSTORABLE for _ in mails]).client()
        assert client.deliver(inbox.address, MAIL).startswith("451 4.3.0 ")

    def test_it_asks_to_try_again_when_an_inbox_cannot_be_looked_up(self, start_smtp):
        def find(addresses):
            raise OperationalError("gone")

        client = start_smtp(find=find).client()
        client.command("MAIL FROM:<>")
        assert client.command("RCPT TO:<support@mailbot.localhost>").startswith("451 4.3.0 ")

    def test_it_does_not_wait_for_a_database_that_hangs(self, start_smtp, inbox):
        go_on = threading.Event()

        def store(mails):
            go_on.wait(PATIENCE)
            return store_inbound_mail(mails)

        client = start_smtp(store=store, database_timeout=SHORT).client()
        assert client.deliver(inbox.address, MAIL).startswith("451 4.3.0 ")
        go_on.set()

    def test_it_does_not_wait_for_a_broker_that_hangs(self, smtp_server, inbox, monkeypatch):
        go_on = threading.Event()
        monkeypatch.setattr("mailbot.lib.hints.send", lambda task: go_on.wait(PATIENCE))
        client = smtp_server.client()
        assert [client.deliver(inbox.address, MAIL) for _ in range(2)] == ["250 2.0.0 OK"] * 2
        go_on.set()

    def test_it_rings_for_the_worker(self, smtp_server, inbox, monkeypatch):
        rung = threading.Event()
        monkeypatch.setattr("mailbot.lib.hints.send", lambda task: rung.set())
        smtp_server.client().deliver(inbox.address, MAIL)
        assert rung.wait(PATIENCE)


class TestDatabase:
    def test_it_says_451_while_the_table_is_locked_and_250_afterwards(self, start_smtp, inbox):
        client = start_smtp(database_timeout=SHORT).client()
        with transaction.atomic():  # on SQLite this alone is the lock
            if connection.vendor == "postgresql":
                connection.cursor().execute("LOCK TABLE delivery_inboundmail IN ACCESS EXCLUSIVE MODE")
            assert client.deliver(inbox.address, b"locked\r\n").startswith("451 4.3.0 ")
        while client.deliver(inbox.address, MAIL).startswith("451"):  # SQLite looks for the lock now and then
            pass
        assert MAIL in stored_mails()

    def test_it_connects_again_when_the_database_has_cut_it_off(self, smtp_server, inbox):
        if connection.vendor != "postgresql":
            pytest.skip("SQLite has no connection to lose")
        client = smtp_server.client()
        assert client.deliver(inbox.address, b"before\r\n") == "250 2.0.0 OK"
        with acting_within(OWNER), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        replies = [self.attempt(client, inbox) for _ in range(10)]
        assert {reply[:3] for reply in replies} <= {"250", "451"}
        assert replies[-1].startswith("250")
        assert stored_mails().count(MAIL) == replies.count("250 2.0.0 OK")

    def attempt(self, client: Client, inbox: Inbox) -> str:
        client.command("RSET")
        client.command("MAIL FROM:<>")
        if not (reply := client.command(f"RCPT TO:<{inbox.address}>")).startswith("250"):
            return reply
        client.command("DATA")
        client.send(MAIL + b".\r\n")
        return client.reply()

    def test_it_refuses_a_mail_whose_inbox_was_deleted_after_rcpt(self, smtp_server, inbox):
        client = smtp_server.client()
        client.begin(inbox.address)
        Inbox.objects.update(status=Inbox.Status.DELETED)
        assert client.command("too late\r\n.").startswith("550 5.1.1 ")
        assert stored_mails() == []

    def test_it_keeps_the_recipients_that_are_still_there(self, smtp_server, make_inbox):
        gone, kept = make_inbox("gone"), make_inbox("kept")
        client = smtp_server.client()
        client.begin(gone.address, kept.address)
        Inbox.objects.filter(pk=gone.pk).update(status=Inbox.Status.DELETED)
        assert client.command(".") == "250 2.0.0 OK"
        assert [item["inbox_id"] for item in InboundMail.objects.get().recipients] == [kept.pk]


class TestStopping:
    def test_it_lets_a_mail_end_and_sends_the_idle_away(self, smtp_server, inbox):
        idle, busy = smtp_server.client(), smtp_server.client()
        busy.begin(inbox.address)
        wait_until_stopped = smtp_server.begin_stop()
        assert idle.reply().startswith("421 4.3.2 ")
        assert idle.is_closed()
        busy.send(MAIL + b".\r\n")
        assert busy.reply() == "250 2.0.0 OK"
        assert busy.reply().startswith("421 4.3.2 ")
        wait_until_stopped()
        assert stored_mails() == [MAIL]


class Process:
    """A real `manage.py smtp` on the database of the test."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "manage.py", "smtp", "--port=0", *arguments]
        self.process = subprocess.Popen(
            command, cwd=settings.BASE_DIR, env=_environment(folder), stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout
        self.first_line = self.output.readline()
        self.port = int(self.first_line.split()[3].rpartition(":")[2])

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


def _environment(folder: Path) -> dict[str, str]:
    database = connection.settings_dict
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    environment |= {"DJANGO_SETTINGS_MODULE": "mailbot.settings", "MAILBOT_VAR": str(folder)}
    if connection.vendor == "postgresql":
        user = f"{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT'] or 5432}"
        environment["DATABASE_URL"] = f"postgres://{user}/{database['NAME']}"
        environment["REDIS_URL"] = "redis://127.0.0.1:1"  # nobody is there: the way in does without the doorbell
    else:
        (folder / "mailbot.sqlite3").symlink_to(database["NAME"])
    return environment


@pytest.fixture
def smtp_process(transactional_db: None, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(tmp_path, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.process.kill()
        process.process.wait()
        process.output.close()


@pytest.mark.flows
@pytest.mark.timeout(180)
class TestProcess:
    def test_it_keeps_what_it_acknowledged_when_it_is_killed(self, smtp_process, inbox):
        process = smtp_process()
        client = Client(process.port)
        client.begin(inbox.address)
        client.send(MAIL + b".\r\n")
        reply = client.reply()
        process.process.kill()
        process.process.wait(timeout=30)
        client.close()
        assert reply == "250 2.0.0 OK"
        assert stored_mails() == [MAIL]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_finishes_the_mail_in_data_when_it_is_told_to_stop(self, smtp_process, inbox, number):
        process = smtp_process()
        idle, busy = Client(process.port), Client(process.port)
        busy.begin(inbox.address)
        process.process.send_signal(number)
        assert idle.reply().startswith("421 4.3.2 ")
        busy.send(MAIL + b".\r\n")
        assert busy.reply() == "250 2.0.0 OK"
        assert process.process.wait(timeout=30) == 0
        for client in (idle, busy):
            client.close()
        assert stored_mails() == [MAIL]

    def test_it_serves_in_several_processes_and_replaces_one_that_dies(self, smtp_process, inbox):
        process = smtp_process("--processes=2")
        assert process.first_line.endswith("in 2 processes\n")
        killed = _children(process.process.pid)[0]
        os.kill(killed, signal.SIGKILL)
        for _ in range(8):  # whichever socket the kernel picks: one waits until its process is back
            client = Client(process.port)
            assert client.deliver(inbox.address, MAIL) == "250 2.0.0 OK"
            client.close()
        assert process.end() == 0
        assert len(stored_mails()) == 8


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
