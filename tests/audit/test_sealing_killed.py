"""Eight processes write at once while sealers are killed: no entry without a place, none with two"""

import multiprocessing
import os
import random
import signal
import time
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Count

from audit import sealing
from audit.models import AuditEntry, AuditLeaf, AuditUnsealed
from audit.sealing import seal, seal_all
from audit.verifying import verify
from mailbot.lib import failpoints
from mailbot.lib.scope import EVERYBODY, acting_within
from tests.audit.trail import write

WRITERS = 8
ENTRIES = int(os.environ.get("MAILBOT_AUDIT_ENTRIES", 10_000))
ACCOUNTS = ("account_one", "account_two", "account_three")
POINTS = ("audit.taken", "audit.appended", "audit.sealed")
FORK = multiprocessing.get_context("fork")


class Undone(Exception):
    pass


def write_some(seed: int, number: int) -> None:
    """In transactions of all sizes; some stay open for a while, some are undone."""
    chance = random.Random(seed)
    while number:
        size = min(number, chance.choice([1, 1, 2, 5, 40]))
        try:
            with transaction.atomic():
                write(size, chance.choice(ACCOUNTS))
                if chance.random() < 0.05:
                    time.sleep(chance.random() / 20)  # open while others commit what was written later
                if chance.random() < 0.1:
                    raise Undone
        except Undone:
            continue
        number -= size


def seal_until_killed(point: str, nth: int) -> None:
    failpoints._strikes[point] = failpoints.Strike(lambda: os.kill(os.getpid(), signal.SIGKILL), nth)
    sealing.failpoint = failpoints._reached  # type: ignore[attr-defined]
    sealing.BATCH = 100
    while True:
        seal(1)
        time.sleep(0.005)


def child(work: Any, *arguments: Any) -> Any:
    """A process with connections of its own."""
    process = FORK.Process(target=_run, args=(work, *arguments), daemon=True)
    process.start()
    return process


def _run(work: Any, *arguments: Any) -> None:
    with acting_within(EVERYBODY):
        work(*arguments)
    os._exit(0)


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_nothing_is_left_out_and_nothing_has_two_places():
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # its threads would not be in the children
    writers = [child(write_some, number, ENTRIES // WRITERS) for number in range(WRITERS)]
    killed, chance = 0, random.Random(7)
    while any(writer.is_alive() for writer in writers):
        sealer = child(seal_until_killed, POINTS[killed % len(POINTS)], chance.randint(1, 4))
        while sealer.is_alive() and any(writer.is_alive() for writer in writers):
            time.sleep(0.01)
        sealer.kill()
        sealer.join()
        killed += 1
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    seal_all()
    assert killed >= len(POINTS)
    assert not AuditUnsealed.objects.exists()
    assert AuditEntry.objects.count() == AuditLeaf.objects.count() == ENTRIES
    assert not AuditLeaf.objects.values("entry_id").annotate(places=Count("pk")).filter(places__gt=1).exists()
    for account_id in ACCOUNTS:
        seqs = list(AuditLeaf.objects.filter(account_id=account_id).order_by("seq").values_list("seq", flat=True))
        assert seqs == list(range(len(seqs)))
        assert verify(account_id).findings == []
