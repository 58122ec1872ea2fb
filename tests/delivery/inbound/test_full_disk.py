"""A full disk is no fault of a mail, and everybody hears of it: the database's disk, and that of the files."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import OperationalError, connection

from delivery.inbound.process import process_inbound
from delivery.models import InboundMail
from mailbot.lib.scope import OWNER, acting_within
from tests.cast import Caller
from tests.mailing import mail, store

FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON threads_message FOR EACH ROW EXECUTE FUNCTION no_room();
"""


@contextmanager
def full_database() -> Iterator[None]:
    """No room for another message: SQLite takes no more pages, PostgreSQL says what it says when a file cannot grow."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with acting_within(OWNER):
                cursor.execute(FULL)
            undo = "DROP FUNCTION no_room CASCADE"
        else:
            cursor.execute("VACUUM")  # pages that an earlier test has freed are room too
            cursor.execute("PRAGMA page_count")
            # Claims fit into the pages that are there; a body of this test does not.
            cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0] + 1}")
            undo = "PRAGMA max_page_count = 4294967294"
        try:
            yield
        finally:
            with acting_within(OWNER):
                cursor.execute(undo)


@contextmanager
def full_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def save(*_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(default_storage, "save", save)
        yield


BODY = "a line of a long body\n" * 20_000


@pytest.mark.django_db(transaction=True)
class TestFiling:
    def test_it_leaves_the_mail_as_it_was_while_the_database_has_no_room(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        store(mail(body=BODY), inbox)
        with full_database():
            for _ in range(6):  # more often than a mail is tried that is at fault itself
                with pytest.raises(OperationalError):
                    process_inbound()
        assert InboundMail.objects.values_list("state", "attempts", "error").get() == ("stored", 0, "")
        assert process_inbound() == 1
        assert len(alice.messages(inbox)) == 1

    def test_it_leaves_the_mail_as_it_was_while_the_files_have_no_room(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        for number in range(2):
            store(mail(attachments={"a.txt": b"%d" % number}), inbox)
        with full_folder(monkeypatch):
            for _ in range(6):
                with pytest.raises(Exception, match="No space left"):
                    process_inbound()
        assert set(InboundMail.objects.values_list("state", "attempts", "error")) == {("stored", 0, "")}
        assert process_inbound() == 2
        assert len(alice.messages(inbox)) == 2


@pytest.mark.django_db(transaction=True)
class TestApi:
    def test_it_says_so_when_the_database_has_no_room(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        with full_database():
            self.says_so(alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "a@example.com", "body_text": BODY}))
        assert alice.send(inbox)

    def test_it_says_so_when_the_files_have_no_room(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        inbox = alice.create_inbox()
        attachment = {"filename": "a.txt", "content": "aGFsbG8=", "content_type": "text/plain"}
        with full_folder(monkeypatch):
            self.says_so(
                alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "a@example.com", "attachments": [attachment]})
            )

    def says_so(self, answer: Any) -> None:
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "unavailable"
        assert "disk is full" in answer.json()["error"]["message"]
        assert answer.headers["Retry-After"]
