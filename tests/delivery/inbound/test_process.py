"""From stored deliveries to messages, however bad the mail and however many workers."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, connection
from django.utils import timezone

from audit.actors import acting_as_system
from delivery.claims import claim
from delivery.inbound import claim as claim_module
from delivery.inbound import process
from delivery.inbound.claim import BATCH_CLAIMS, LEASE
from delivery.inbound.lanes import lane_of, take_lanes
from delivery.inbound.process import MAX_CLAIMS, RETRY_AFTER, process_inbound, retry_failed
from delivery.models import InboundLane, InboundMail
from inboxes.models import Inbox
from mailbot.lib.clock import database_now
from mailbot.lib.object_store import StoreUnavailable
from tests.cast import Caller, run_workers
from tests.mailing import mail, store
from threads.reading import read_mail


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail whose subject is POISON breaks whoever reads it."""

    def read(raw: bytes) -> Any:
        if b"POISON" in raw:
            raise RuntimeError("poisoned")
        return read_mail(raw)

    monkeypatch.setattr(process, "read_mail", read)


@pytest.fixture(autouse=True)
def no_second_try_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine the first pause, of two seconds, is over before a test has looked."""
    monkeypatch.setattr(process, "RETRY_AFTER", (max(RETRY_AFTER),) * len(RETRY_AFTER))


class TestBatches:
    def test_it_keeps_the_order_of_arrival(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        for number in range(5):
            store(mail(Subject=str(number)), inbox)
        assert process_inbound(limit=2) == 2
        run_workers()
        assert [message["subject"] for message in alice.messages(inbox)] == ["4", "3", "2", "1", "0"]

    def test_it_does_not_let_one_bad_mail_stop_the_others(self, alice: Caller, poison: None) -> None:
        inbox = alice.create_inbox()
        for subject in ("one", "POISON", "two"):
            store(mail(Subject=subject), inbox)
        run_workers()
        assert [message["subject"] for message in alice.messages(inbox)] == ["two", "one"]
        bad = InboundMail.objects.get(state="stored")
        assert (bad.attempts, bad.error) == (1, "RuntimeError: poisoned")

    def test_it_keeps_a_bad_mail_as_failed_and_gives_it_another_chance(
        self, alice: Caller, poison: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        store(mail(Subject="POISON"), inbox)
        for _ in range(len(RETRY_AFTER) + 1):
            run_workers()
            InboundMail.objects.update(next_attempt_at=timezone.now())
        bad = InboundMail.objects.get()
        assert bad.state == "failed"
        assert b"POISON" in bytes(bad.raw)
        monkeypatch.setattr(process, "read_mail", read_mail)
        run_workers()
        assert alice.messages(inbox) == []
        with acting_as_system("operator"):
            assert retry_failed([bad]) == 1
        run_workers()
        assert [message["subject"] for message in alice.messages(inbox)] == ["POISON"]

    def test_it_blames_no_mail_for_trouble_of_the_database(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        store(mail(), inbox)

        def fail(*_: object) -> None:
            raise OperationalError("gone")

        with monkeypatch.context() as patched:
            patched.setattr(process, "file_incoming", fail)
            with pytest.raises(OperationalError):
                process_inbound()
        assert InboundMail.objects.get().attempts == 0
        InboundMail.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        run_workers()
        assert len(alice.messages(inbox)) == 1


class TestPoison:
    def test_it_gives_up_on_a_mail_that_ends_every_worker(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        inbox = alice.create_inbox()
        store(mail(Subject="POISON"), inbox)
        store(mail(Subject="behind it"), inbox)

        def die(raw: bytes) -> Any:
            if b"POISON" in raw:
                raise KeyboardInterrupt  # as a killed process: nothing of ours runs after it
            return read_mail(raw)

        monkeypatch.setattr(process, "read_mail", die)
        monkeypatch.setattr(process, "rehearse", lambda mails, _: (len(mails), ""))  # nor does that see it
        for _ in range(MAX_CLAIMS + 1):
            with suppress(KeyboardInterrupt):
                run_workers()
            lease_is_over()
        assert [message["subject"] for message in alice.messages(inbox)] == ["behind it"]
        bad = InboundMail.objects.get(state="failed")
        assert b"POISON" in bytes(bad.raw)
        assert "ended" in bad.error

    def test_it_finds_the_one_that_ended_its_worker_and_files_the_others_at_once(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        for subject in ("one", "POISON", "two", "POISON again", "three"):
            store(mail(Subject=subject), inbox)
        a_worker_died()
        monkeypatch.setenv("MAILBOT_FAILPOINTS", "inbound.reading=kill,content=POISON")
        run_workers()
        assert [message["subject"] for message in alice.messages(inbox)] == ["three", "two", "one"]
        assert set(InboundMail.objects.filter(state="stored").values_list("attempts", "error")) == {
            (1, "WorkerLost: The process that read it ended with -9.")
        }

    def test_it_suspects_what_came_meanwhile_and_what_it_had_no_time_for(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each mail that ends its worker costs the lane a lease."""
        inbox = alice.create_inbox()
        store(mail(Subject="POISON"), inbox)
        a_worker_died()
        for subject in ("POISON again", "new"):
            store(mail(Subject=subject), inbox)
        monkeypatch.setenv("MAILBOT_FAILPOINTS", "inbound.reading=kill,content=POISON")
        monkeypatch.setattr(process, "read_mail", lambda raw: None if b"POISON" in raw else read_mail(raw))
        monkeypatch.setattr(process, "monotonic", iter(range(0, 10**6, 100)).__next__)  # no time for a second round
        process_inbound()
        assert InboundMail.objects.exclude(error="").count() == 1
        assert set(InboundMail.objects.values_list("state", "attempts")) == {("stored", 1)}
        run_workers()
        assert [message["subject"] for message in alice.messages(inbox)] == ["new"]
        assert InboundMail.objects.filter(state="stored").exclude(error="").count() == 2

    def test_it_does_not_wait_for_one_that_cannot_be_read_to_an_end(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        for subject in ("ENDLESS", "behind it"):
            store(mail(Subject=subject), inbox)
        a_worker_died()
        monkeypatch.setenv("MAILBOT_FAILPOINTS", "inbound.reading=hang,content=ENDLESS")
        monkeypatch.setattr(process, "READS_FOR", 5)
        run_workers()
        assert [message["subject"] for message in alice.messages(inbox)] == ["behind it"]
        assert "could not be read in 5 s" in InboundMail.objects.get(state="stored").error

    def test_it_tries_alone_what_ends_workers_without_being_read(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        for _ in range(3):
            store(mail(), inbox)
        for claims, taken in ((1, 3), (BATCH_CLAIMS, 1)):
            a_worker_died(claims)
            assert process_inbound() == taken
            InboundMail.objects.filter(state="processed").update(state="stored", processed_at=None)

    def test_it_does_not_fail_what_was_only_there_when_workers_were_killed(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        store(mail(), inbox)
        a_worker_died(len(RETRY_AFTER) + 3)
        run_workers()
        assert len(alice.messages(inbox)) == 1

    def test_it_does_not_blame_a_mail_whose_reader_was_killed_for_another_reason(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        inbox = alice.create_inbox()
        for subject in ("one", "two", "three"):
            store(mail(Subject=subject), inbox)
        a_worker_died()
        monkeypatch.setenv("MAILBOT_FAILPOINTS", f"inbound.reading=kill,content=two,once={tmp_path / 'killed'}")
        run_workers()
        assert (tmp_path / "killed").exists()
        assert [message["subject"] for message in alice.messages(inbox)] == ["three", "two", "one"]
        assert not InboundMail.objects.exclude(error="").exists()

    @pytest.mark.parametrize("has_waited", [False, True], ids=["new", "waited for the store"])
    def test_it_tries_again_what_is_blamed_once_after_workers_were_killed(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch, has_waited: bool
    ) -> None:
        """Also who reads it may have been killed for another reason."""
        inbox = alice.create_inbox()
        store(mail(), inbox)
        if has_waited:
            with monkeypatch.context() as patched:
                patched.setattr(process, "raw_in_store", away)
                InboundMail.objects.update(raw_in_row=False)
                process_inbound()
            assert "Connection refused" in InboundMail.objects.get().error
            InboundMail.objects.update(raw_in_row=True)
        a_worker_died(len(RETRY_AFTER) + 3)
        with monkeypatch.context() as patched:
            patched.setenv("MAILBOT_FAILPOINTS", "inbound.reading=kill")
            process_inbound()
        assert InboundMail.objects.get().state == "stored"
        InboundMail.objects.update(next_attempt_at=timezone.now())
        run_workers()
        assert len(alice.messages(inbox)) == 1

    def test_it_gives_back_what_it_cannot_read_in_time(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        inbox = alice.create_inbox()
        for number in range(3):
            store(mail(Subject=str(number)), inbox)
        monkeypatch.setattr(process, "READS_FOR", -1)
        process_inbound()
        assert [message["subject"] for message in alice.messages(inbox)] == ["0"]
        assert set(InboundMail.objects.filter(state="stored").values_list("attempts", flat=True)) == {0}
        run_workers()
        assert [message["subject"] for message in alice.messages(inbox)] == ["2", "1", "0"]

    def test_it_keeps_no_bytes_for_an_inbox_that_was_purged_meanwhile(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        store(mail(body="secret"), inbox)
        Inbox.objects.filter(pk=inbox.pk).update(purged_at=timezone.now(), status="deleted")
        run_workers()
        row = InboundMail.objects.get()
        assert (row.state, bytes(row.raw)) == ("rejected", b"")


def away(_: str) -> bytes:
    raise StoreUnavailable("Connection refused")


def a_worker_died(claims: int = 1) -> None:
    """Everything was claimed so often, and nobody came back."""
    over = timezone.now() - timedelta(seconds=1)
    InboundMail.objects.update(state="processing", attempts=claims, lease_token="gone", lease_until=over)


def lease_is_over() -> None:
    over = timezone.now() - timedelta(seconds=1)
    InboundMail.objects.filter(state="processing").update(lease_until=over)
    InboundLane.objects.update(lease_until=over)


class TestLanes:
    def test_it_leaves_an_inbox_to_the_worker_that_is_at_it(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A reply that a second worker files while the first one still reads its parent would find no parent."""
        inbox = alice.create_inbox()
        store(mail(Message_ID="<parent@example.com>"), inbox)

        def while_reading(raw: bytes) -> Any:
            monkeypatch.setattr(process, "read_mail", read_mail)
            store(mail(In_Reply_To="<parent@example.com>"), inbox)
            assert process_inbound() == 0
            return read_mail(raw)

        monkeypatch.setattr(process, "read_mail", while_reading)
        run_workers()
        reply, parent = alice.messages(inbox)
        assert reply["thread_id"] == parent["thread_id"]

    def test_it_lets_other_inboxes_go_on_meanwhile(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        inbox = alice.create_inbox()
        other = next(box for box in iter(alice.create_inbox, None) if lane_of(box.pk) != lane_of(inbox.pk))
        store(mail(), inbox)

        def while_reading(raw: bytes) -> Any:
            monkeypatch.setattr(process, "read_mail", read_mail)
            store(mail(), other)
            assert process_inbound() == 1
            return read_mail(raw)

        monkeypatch.setattr(process, "read_mail", while_reading)
        run_workers()
        assert len(alice.messages(inbox)) == len(alice.messages(other)) == 1

    def test_it_takes_over_the_lane_of_a_dead_worker(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        store(mail(), inbox)
        assert take_lanes([lane_of(inbox.pk)], "dead", database_now(), LEASE)
        assert process_inbound() == 0
        InboundLane.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert process_inbound() == 1

    def test_it_holds_a_lane_as_long_as_its_mail(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        """In between, another worker would find the lane free and file what lies behind."""
        store(mail(), alice.create_inbox())

        def while_reading(raw: bytes) -> Any:
            lane, row = InboundLane.objects.exclude(lease_until=None).get(), InboundMail.objects.get()
            assert lane.lease_until == row.lease_until
            return read_mail(raw)

        monkeypatch.setattr(process, "read_mail", while_reading)
        assert process_inbound() == 1
        assert InboundMail.objects.get().state == "processed"

    def test_it_keeps_the_lane_of_a_mail_that_cannot_be_given_back(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a full disk a row of a mail finds no room where a row of a lane still does. What lies behind it must not overtake it."""
        inbox = alice.create_inbox()
        store(mail(Subject="parent"), inbox)

        def refuse(*_: Any, **__: Any) -> Any:
            raise OperationalError("could not extend file")

        with monkeypatch.context() as patch:
            for name in ("file_incoming", "_let_go"):
                patch.setattr(process, name, refuse)
            with pytest.raises(OperationalError):
                process_inbound()
        store(mail(Subject="reply"), inbox)
        assert process_inbound() == 0
        lease_is_over()
        run_workers()
        assert [message["subject"] for message in alice.messages(inbox)] == ["reply", "parent"]

    def test_it_leaves_all_of_a_batch_to_the_worker_that_took_over_a_part_of_it(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        for subject in ("parent", "reply"):
            store(mail(Subject=subject), inbox)

        def slowly(raw: bytes) -> Any:
            monkeypatch.setattr(process, "read_mail", read_mail)
            InboundMail.objects.filter(pk=InboundMail.objects.earliest("pk").pk).update(lease_token="another")
            return read_mail(raw)

        monkeypatch.setattr(process, "read_mail", slowly)
        process_inbound()
        assert alice.messages(inbox) == []
        lease_is_over()
        run_workers()
        assert [message["subject"] for message in alice.messages(inbox)] == ["reply", "parent"]

    def test_it_takes_no_more_octets_at_once_than_memory_bears(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        for _ in range(3):
            store(mail(body="x" * 1000), inbox)
        monkeypatch.setattr(claim_module, "BATCH_OCTETS", 1500)
        assert [process_inbound() for _ in range(4)] == [1, 1, 1, 0]


class TestLeases:
    def test_it_takes_over_what_a_dead_worker_held(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        store(mail(), inbox)
        claim(InboundMail.objects.due(), InboundMail.objects.get().pk, state="processing", lease=LEASE)
        assert process_inbound() == 0
        InboundMail.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert process_inbound() == 1
        assert len(alice.messages(inbox)) == 1

    def test_it_files_nothing_twice_when_its_lease_was_lost(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        store(mail(), inbox)

        def slowly(raw: bytes) -> Any:
            monkeypatch.setattr(process, "read_mail", read_mail)
            InboundMail.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            InboundLane.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            assert process_inbound() == 1
            return read_mail(raw)

        monkeypatch.setattr(process, "read_mail", slowly)
        process_inbound()
        (message,) = alice.messages(inbox)
        assert message["repeat_count"] == 0
        assert alice.get(f"/v1/inboxes/{inbox.pk}").json()["data"]["message_count"] == 1
        assert InboundMail.objects.get().state == "processed"


class TestClocks:
    """Of other processes, and ours before it was set."""

    AHEAD = timedelta(hours=1)

    def test_it_does_not_wait_for_the_clock_of_the_process_that_took_the_mail_in(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        with time_machine.travel(timezone.now() + self.AHEAD):
            store(mail(), inbox)
        assert process_inbound() == 1

    def test_it_does_not_wait_for_a_pause_of_a_clock_that_was_set_back(self, alice: Caller) -> None:
        store(mail(), alice.create_inbox())
        InboundMail.objects.update(attempts=1, next_attempt_at=timezone.now() + self.AHEAD)
        assert process_inbound() == 1

    def test_it_does_not_wait_for_a_lease_of_a_clock_that_was_set_back(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        store(mail(), inbox)
        take_lanes([lane_of(inbox.pk)], "gone", database_now(), LEASE)
        InboundLane.objects.update(lease_until=timezone.now() + self.AHEAD)
        a_worker_died()
        InboundMail.objects.update(lease_until=timezone.now() + self.AHEAD)
        assert process_inbound() == 1

    def test_it_respects_a_lease_that_began_after_it_looked_at_the_clock(self, alice: Caller) -> None:
        """As it does while it waits for the lock of a row."""
        inbox = alice.create_inbox()
        store(mail(), inbox)
        a_moment_later = timezone.now() + timedelta(seconds=20)
        InboundLane.objects.update_or_create(pk=lane_of(inbox.pk), defaults={"lease_until": a_moment_later + LEASE})
        assert process_inbound() == 0

    def test_it_respects_the_lease_of_a_worker_with_another_clock(self, alice: Caller) -> None:
        if connection.vendor != "postgresql":
            pytest.skip("on SQLite all processes have one clock")
        inbox = alice.create_inbox()
        store(mail(), inbox)
        with time_machine.travel(timezone.now() - self.AHEAD):
            take_lanes([lane_of(inbox.pk)], "another", database_now(), LEASE)
            claim(InboundMail.objects.due(), InboundMail.objects.get().pk, state="processing", lease=LEASE)
        assert process_inbound() == 0
        with time_machine.travel(timezone.now() + self.AHEAD):
            assert process_inbound() == 0
