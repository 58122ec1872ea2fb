"""A hold that is placed while something is removed: one of them is first, and the other sees it."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from audit.actors import acting_as_system
from audit.models import AuditEntry
from delivery import retention_parts
from delivery.erasing import mail as mail_step
from delivery.erasing import records
from delivery.erasing.working import run_erasures
from delivery.models import Erasure, ProviderEvent
from delivery.retention import remove_old_provider_events
from inboxes.holds import Held, place, refusals_stay
from inboxes.models import Inbox, LegalHold, Provider
from inboxes.provisioning import purge_inbox
from mailbot.lib.scope import act_for_everybody_outside_of_requests
from tests.cast import Caller
from tests.console import failed_inbound, unknown_mail
from tests.delivery.erasing.traces import ask
from tests.mailing import deliver, mail
from tests.waiting import until_somebody_waits
from threads.models import Message

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
]
CAROL = "carol@shop.example"
CASE = {"matter": "Smith v. Shop", "reason": "A claim"}


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    inbox = alice.create_inbox()
    deliver(mail(), inbox)
    return inbox


def slowly(work: Callable[[], object], begun: threading.Event, done: list[str]) -> None:
    """Do it in a transaction that stays open until somebody waits for it."""
    act_for_everybody_outside_of_requests()
    try:
        with transaction.atomic():
            work()
            begun.set()
            until_somebody_waits()
        done.append("first")
    finally:
        connections.close_all()


def beside(work: Callable[[], object], then: Callable[[], object], done: list[str]) -> None:
    begun = threading.Event()
    worker = threading.Thread(target=slowly, args=(work, begun, done))
    worker.start()
    assert begun.wait(30)
    try:
        then()
    finally:
        worker.join()


@pytest.mark.parametrize("of_account", [False, True])
def test_a_hold_waits_for_a_purge_that_has_begun(alice: Caller, inbox: Inbox, of_account: bool) -> None:
    done: list[str] = []

    def placed() -> None:
        place(alice.account, inbox=None if of_account else inbox, **CASE)
        done.append("second")

    beside(lambda: purge_inbox(Inbox.objects.get(pk=inbox.pk)), placed, done)
    assert sorted(done) == ["first", "second"]
    assert not Message.objects.exists()
    purged = Inbox.objects.get(pk=inbox.pk)
    assert purged.purged_at is not None
    # What it says it holds was held from then on: the purge was over.
    assert LegalHold.objects.get().placed_at > purged.purged_at


@pytest.mark.parametrize("of_account", [False, True])
def test_a_purge_waits_for_a_hold_and_is_refused(alice: Caller, inbox: Inbox, of_account: bool) -> None:
    done: list[str] = []

    def purged() -> None:
        with pytest.raises(Held), refusals_stay():
            purge_inbox(Inbox.objects.get(pk=inbox.pk))
        done.append("second")

    beside(lambda: place(alice.account, inbox=None if of_account else inbox, **CASE), purged, done)
    assert sorted(done) == ["first", "second"]
    assert Message.objects.count() == 1
    assert Inbox.objects.get(pk=inbox.pk).status == "active"


@pytest.mark.parametrize("of_account", [False, True])
def test_a_hold_waits_for_a_batch_of_retention_and_the_next_one_takes_nothing(
    alice: Caller, inbox: Inbox, of_account: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_parts, "MESSAGES", 1)
    deliver(mail(), inbox)
    time_, done = timezone.now() + timedelta(days=1), list[str]()

    def placed() -> None:
        place(alice.account, inbox=None if of_account else inbox, **CASE)
        done.append("second")

    beside(lambda: retention_parts.remove_content(inbox, time_), placed, done)
    assert sorted(done) == ["first", "second"]
    assert Message.objects.count() == 1
    assert retention_parts.remove_content(inbox, time_) == 0
    assert Message.objects.count() == 1


def test_a_batch_of_retention_waits_for_a_hold(alice: Caller, inbox: Inbox) -> None:
    removed, done = list[int](), list[str]()
    beside(
        lambda: place(alice.account, inbox=inbox, **CASE),
        lambda: removed.append(retention_parts.remove_content(inbox, timezone.now() + timedelta(days=1))),
        done,
    )
    assert (removed, done) == ([0], ["first"])
    assert Message.objects.count() == 1


@pytest.mark.parametrize("of_account", [False, True])
@pytest.mark.parametrize("step", ["mail", "inbound", "rows"])
def test_a_hold_waits_for_a_batch_of_an_erasure_and_the_next_one_is_refused(
    alice: Caller, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, step: str, of_account: bool
) -> None:
    begun, done = threading.Event(), list[str]()
    for act in ("pause", "resume"):
        deliver(mail(From=CAROL), inbox)
        failed_inbound(inbox, From=CAROL)
        alice.post(f"/v1/inboxes/{inbox.pk}/{act}", {"reason": f"{CAROL} asked"})
    erasure = ask(alice.with_key(mode="live"), CAROL)

    def in_a_batch(*_: Any) -> None:
        if Erasure.objects.get().step != step:
            return
        if not done:
            begun.set()
            until_somebody_waits()
        done.append("first")

    for module in (mail_step, records):
        monkeypatch.setattr(module, "failpoint", in_a_batch)
        monkeypatch.setattr(module, "BATCH", 1)

    def erased() -> None:
        act_for_everybody_outside_of_requests()
        try:
            with acting_as_system("eraser"):
                run_erasures(600)
        finally:
            connections.close_all()

    worker = threading.Thread(target=erased)
    worker.start()
    assert begun.wait(30)
    try:
        place(alice.account, inbox=None if of_account else inbox, **CASE)
        done.append("second")
    finally:
        worker.join()
    assert done == ["first", "second"]
    assert alice.get(f"/v1/erasures/{erasure['id']}").json()["data"]["state"] == "refused"
    assert Erasure.objects.get().step == step


@pytest.mark.parametrize("kind", ["inbound", "tracking"])
def test_what_an_esp_told_waits_for_a_hold(alice: Caller, inbox: Inbox, settings: Any, kind: str) -> None:
    settings.INBOUND_RETENTION_DAYS = 30
    provider = Provider.objects.create(account=alice.account, name="Mine", esp="postmark")
    live_alice = alice.with_key(mode="live")
    live = live_alice.create_inbox()
    of = {"mail": unknown_mail(live_alice, live)} if kind == "tracking" else {"recipient": live.address}
    at = timezone.now() - timedelta(days=31)
    event = ProviderEvent.objects.create(
        provider=provider, kind=kind, key="1", state="processed", processed_at=at, **of
    )
    removed, done = list[int](), list[str]()
    beside(
        lambda: place(alice.account, inbox=live, **CASE),
        lambda: removed.append(remove_old_provider_events()),
        done,
    )
    assert (removed, done) == ([0], ["first"])
    assert ProviderEvent.objects.get() == event


def test_mail_that_comes_in_meanwhile_is_counted(alice: Caller, inbox: Inbox) -> None:
    """Who files mail and who removes some both change the counters of the inbox: one after the other."""
    done, before = list[str](), timezone.now() + timedelta(days=1)
    beside(lambda: retention_parts.remove_content(inbox, before), lambda: deliver(mail(Subject="New"), inbox), done)
    assert done == ["first"]
    new, row = Message.objects.get(), Inbox.objects.get(pk=inbox.pk)
    assert (new.subject, new.sequence) == ("New", 2)
    assert (row.messages_held, row.thread_count, row.message_octets) == (1, 1, new.size)


def test_purges_do_not_wait_for_each_other(alice: Caller, inbox: Inbox) -> None:
    other, done = alice.create_inbox(), list[str]()

    def second() -> None:
        with transaction.atomic():
            purge_inbox(Inbox.objects.get(pk=other.pk))
        done.append("second")

    begun = threading.Event()

    def first() -> None:
        act_for_everybody_outside_of_requests()
        try:
            with transaction.atomic():
                purge_inbox(Inbox.objects.get(pk=inbox.pk))
                begun.set()
                ends = time.monotonic() + 30
                while time.monotonic() < ends and "second" not in done:
                    time.sleep(0.01)
            done.append("first")
        finally:
            connections.close_all()

    worker = threading.Thread(target=first)
    worker.start()
    assert begun.wait(30)
    second()
    worker.join()
    assert done == ["second", "first"]


def test_a_refusal_stays_though_what_was_asked_for_is_undone(alice: Caller, inbox: Inbox) -> None:
    place(alice.account, inbox=inbox, **CASE)
    answer = alice.client.delete(f"/v1/inboxes/{inbox.pk}?purge=true")
    assert answer.status_code == 409
    (entry,) = AuditEntry.objects.filter(act="hold.enforced")
    assert (entry.actor_id, entry.inbox_id) == (alice.key.pk, inbox.pk)
