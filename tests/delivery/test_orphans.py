"""Objects that no row knows of are found, and only those."""

import os
import time
from datetime import timedelta
from io import StringIO

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command

from delivery.raw_mover import move_batch
from tests.cast import Caller
from tests.mailing import deliver, mail
from tests.stores import Store

OLD = time.time() - 2 * 86_400


def run(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("orphaned_objects", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue().split()


def test_it_finds_them(alice: Caller, store: Store) -> None:
    assert run() == []
    deliver(mail(attachments={"a.bin": b"12"}), alice.create_inbox())
    move_batch(older_than=timedelta())
    orphans = [
        "attachments/account_1/00/00",
        "raw/inbound/2026-01-01/00/.0011.draft",  # of a writer who was killed
        "raw/inbound/2026-01-01/00/inmail_1.00.eml",
    ]
    for name in orphans:
        default_storage.save(name, ContentFile(b"left over"))
    assert run() == []  # what is that young may get its row yet
    kept = {*store.names("raw"), *store.names("attachments")} - set(orphans)
    for name in {*kept, *orphans}:
        os.utime(store.folder / name, (OLD, OLD))
    assert sorted(run()) == orphans
    assert sorted(run("--delete")) == orphans
    assert {*store.names("raw"), *store.names("attachments")} == kept
