"""An erasure whose worker is killed, whatever it was at, goes on where it was; one whose store is away waits for it"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.verifying import verify
from delivery.erasing import mail as mail_step
from delivery.erasing import records, trail, working
from delivery.models import Erasure, RawObject
from delivery.raw_mover import move_batch
from inboxes.models import Inbox
from tests.cast import Caller, run_workers
from tests.delivery.erasing.traces import ask, places, work
from tests.delivery.raw_mail import Killed
from tests.mailing import deliver, mail
from tests.stores import Store

pytestmark = pytest.mark.django_db(transaction=True)

CAROL = "carol@shop.example"
MARKERS = (CAROL, "subjectmarker", "bodymarker", "filemarker")


@pytest.fixture
def owner(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(owner: Caller, store: Store) -> Inbox:
    inbox = owner.create_inbox()
    for number in range(5):
        files = {"a.txt": f"filemarker {number}".encode()}
        told = mail(From=CAROL, Subject=f"subjectmarker {number}", body="bodymarker\n", attachments=files)
        deliver(told, inbox, envelope_sender=CAROL)
        owner.send(inbox, to=CAROL, subject=f"subjectmarker {number}", body_text="bodymarker")
    run_workers()
    move_batch(older_than=timedelta())
    owner.post("/v1/suppressions", {"address": CAROL})
    return inbox


def lease_runs_out() -> None:
    Erasure.objects.update(lease_until=timezone.now() - timedelta(seconds=1))


def strike(monkeypatch: pytest.MonkeyPatch, nth: int) -> Callable[[], None]:
    """The worker is killed when it comes to any failpoint for the nth time; what is answered begins to count anew."""
    passed = {"number": 0}

    def reached(*_: Any) -> None:
        passed["number"] += 1
        if passed["number"] == nth:
            raise Killed

    for module in (mail_step, records, working):
        monkeypatch.setattr(module, "failpoint", reached)
    return lambda: passed.update(number=0)


@pytest.mark.parametrize("nth", [2, 3, 4])
def test_it_goes_on_after_each_kill(
    owner: Caller, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    monkeypatch.setattr(mail_step, "BATCH", 2)
    monkeypatch.setattr(records, "BATCH", 2)
    monkeypatch.setattr(trail, "READ", 5)
    erasure = ask(owner, CAROL)
    begin_anew = strike(monkeypatch, nth)
    kills, seen = 0, []
    for _ in range(100):
        begin_anew()
        try:
            work()
        except Killed:
            kills += 1
            lease_runs_out()
        told = owner.get(f"/v1/erasures/{erasure['id']}").json()["data"]
        seen.append(told["done"])
        if told["state"] == "done":
            break
    assert told["state"] == "done"
    assert kills >= 3
    assert seen == sorted(seen)
    assert told["counts"]["messages"] == 10  # each counted once
    assert told["counts"]["attachments"] == 5
    assert places(store, MARKERS) == set()
    assert verify(owner.account.pk).findings == []


def test_it_is_done_in_turns(owner: Caller, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_step, "BATCH", 1)
    erasure = ask(owner, CAROL)
    work(seconds=0)  # a batch a turn
    told = owner.get(f"/v1/erasures/{erasure['id']}").json()["data"]
    assert (told["state"], told["progress"], told["counts"]["messages"]) == ("done", 100, 10)


def test_it_waits_for_the_store(owner: Caller, inbox: Inbox, store: Store) -> None:
    erasure = ask(owner, CAROL)
    store.faults.is_down = True
    work()
    told = owner.get(f"/v1/erasures/{erasure['id']}").json()["data"]
    assert told["state"] == "running"
    assert told["error"]
    store.faults.is_down = False
    lease_runs_out()
    RawObject.objects.update(lease_until=None)
    work()
    assert owner.get(f"/v1/erasures/{erasure['id']}").json()["data"]["state"] == "done"
    assert places(store, MARKERS) == set()


def test_what_cannot_be_done_fails_and_forgets_who_it_was(
    owner: Caller, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    erasure = ask(owner, CAROL)

    def broken(*_: Any) -> None:
        raise RuntimeError(f"{CAROL} cannot be erased")

    monkeypatch.setattr(working, "next_rows", broken)
    for _ in range(working.MOST_ATTEMPTS):
        work()
        lease_runs_out()
    told = owner.get(f"/v1/erasures/{erasure['id']}").json()["data"]
    assert (told["state"], told["error"]) == ("failed", "RuntimeError")
    assert Erasure.objects.get().sealed == ""
    assert "erasure.failed" in [entry["action"] for entry in owner.get("/v1/audit-log").json()["data"]]


def test_another_one_ends_what_one_that_failed_had_begun(
    owner: Caller, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tombstones name nobody any more, and yet their entries are gone over, and their files deleted."""
    ask(owner, CAROL)

    def broken(*_: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(working, "next_rows", broken)
        patched.setattr(working._Work, "_delete_files", lambda self: None)
        for _ in range(working.MOST_ATTEMPTS):
            work()
            lease_runs_out()
    assert Erasure.objects.get().state == "failed"
    assert {place.partition("/")[0] for place in places(store, MARKERS)} >= {
        "store attachments",
        "audit_auditentry.changes",
    }
    ask(owner, CAROL)
    work()
    assert set(Erasure.objects.values_list("state", flat=True)) == {"failed", "done"}
    assert places(store, MARKERS) == set()
