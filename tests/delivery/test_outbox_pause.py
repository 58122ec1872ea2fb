"""The outbox: paused and resumed by operators, and by itself when an older database was restored."""

from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core import mail as sent
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEntry
from delivery.models import OutboundMail, OutboxState
from delivery.outbound import outbox
from delivery.outbound.send import send_outbound_mail
from inboxes.models import Account
from tests.cast import Caller, run_workers
from tests.console import console, person
from tests.stores import Store

STEP = timedelta(minutes=1, seconds=1)


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> None:
    """A place for the record, and a worker that was just started."""
    settings.STATE_DIR = tmp_path / "state"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    start_worker(monkeypatch)


def start_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It remembers nothing."""
    monkeypatch.setattr(outbox._Memory, "seen", ("", 0))
    monkeypatch.setattr(outbox._Memory, "look_at", 0.0)


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


def manage(*words: str) -> str:
    output = StringIO()
    call_command("outbox", *words, stdout=output, stderr=output)
    return output.getvalue()


def state_of(message: dict[str, Any]) -> str:
    return OutboundMail.objects.get(message_id=message["id"]).state


def back_up() -> dict[str, Any]:
    """What a back-up has of the outbox."""
    return dict(OutboxState.objects.values().get())


def restore(kept: dict[str, Any]) -> None:
    """As restoring does, past everything that mailbot would do."""
    OutboxState.objects.update(**kept)


def work_for_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes, and the workers sweep."""
    OutboxState.objects.update(advanced_at=timezone.now() - STEP)
    monkeypatch.setattr(outbox._Memory, "look_at", 0.0)
    run_workers()


class TestOperators:
    def test_it_hands_out_nothing_while_it_is_paused_and_goes_on_afterwards(self, live: Caller) -> None:
        assert "paused since" in manage("pause", "--reason", "the provider moves")
        message = live.send(live.create_inbox())
        run_workers()
        send_outbound_mail(OutboundMail.objects.get().pk)
        assert (state_of(message), sent.outbox) == ("queued", [])
        status = manage("status")
        assert "the provider moves" in status
        assert "1 mails are queued" in status
        assert "running" in manage("resume", "--reason", "it has moved")
        run_workers()
        assert (state_of(message), len(sent.outbox)) == ("sent", 1)

    def test_it_says_when_there_is_nothing_to_do(self, db: None) -> None:
        assert "It is not paused." in manage("resume")
        manage("pause")
        assert "It is paused already." in manage("pause")

    def test_it_says_that_it_runs_before_the_first_mail(self, db: None) -> None:
        assert manage("status").startswith("running")

    def test_the_trail_says_who_did_it_and_why(self, db: None) -> None:
        manage("pause", "--reason", "the provider moves")
        manage("resume")
        entries = AuditEntry.objects.filter(act__startswith="outbox.").order_by("pk")
        assert [entry.act for entry in entries] == ["outbox.paused", "outbox.resumed"]
        assert entries[0].actor_name == "manage.py outbox"
        assert entries[0].changes == {"reason": "the provider moves"}
        assert entries[0].account_id == ""


class TestRestores:
    @pytest.mark.parametrize("is_restarted", [True, False])
    def test_an_older_database_pauses_it(
        self, live: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_restarted: bool
    ) -> None:
        inbox = live.create_inbox()
        run_workers()
        kept = back_up()
        work_for_a_step(monkeypatch)
        restore(kept)
        if is_restarted:
            start_worker(monkeypatch)
        message = live.send(inbox)
        run_workers()
        assert (state_of(message), sent.outbox) == ("queued", [])
        assert "older than it was" in manage("status")
        assert "Sending is paused" in caplog.text
        manage("resume")
        for _ in range(2):
            run_workers()
            work_for_a_step(monkeypatch)
        start_worker(monkeypatch)
        run_workers()
        assert (state_of(message), len(sent.outbox)) == ("sent", 1)

    def test_other_workers_go_on_after_it_was_resumed(self, live: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        run_workers()
        kept = back_up()
        work_for_a_step(monkeypatch)
        theirs = outbox._Memory.seen
        restore(kept)
        run_workers()
        manage("resume")
        monkeypatch.setattr(outbox._Memory, "seen", theirs)
        message = live.send(live.create_inbox())
        run_workers()
        assert state_of(message) == "sent"

    def test_a_copy_in_another_place_does_not_send(
        self, live: Caller, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
    ) -> None:
        run_workers()
        settings.STATE_DIR = tmp_path / "elsewhere"
        start_worker(monkeypatch)
        message = live.send(live.create_inbox())
        run_workers()
        assert state_of(message) == "queued"
        assert "no record of this database here" in manage("status")
        manage("resume")
        run_workers()
        assert state_of(message) == "sent"

    def test_a_folder_that_was_brought_back_counts_as_a_copy(
        self, live: Caller, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        run_workers()
        (file,) = Path(settings.STATE_DIR).iterdir()
        copy = file.with_name("copy")
        copy.write_bytes(file.read_bytes())
        copy.replace(file)
        start_worker(monkeypatch)
        message = live.send(live.create_inbox())
        run_workers()
        assert state_of(message) == "queued"

    def test_a_restart_alone_pauses_nothing(self, live: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        inbox = live.create_inbox()
        for _ in range(3):
            message = live.send(inbox)
            work_for_a_step(monkeypatch)
            start_worker(monkeypatch)
            assert state_of(message) == "sent"

    @pytest.mark.parametrize("hours", [-2, 2])
    def test_a_clock_that_is_set_pauses_nothing(
        self, live: Caller, monkeypatch: pytest.MonkeyPatch, hours: int
    ) -> None:
        run_workers()
        with time_machine.travel(timezone.now() + timedelta(hours=hours)):
            message = live.send(live.create_inbox())
            for _ in range(3):
                work_for_a_step(monkeypatch)
            OutboundMail.objects.filter(state="queued").update(next_attempt_at=timezone.now() - timedelta(days=1))
            start_worker(monkeypatch)
            run_workers()
        assert not OutboxState.objects.get().is_paused
        assert state_of(message) == "sent"

    def test_the_epoch_rises_in_both_places(self, live: Caller, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
        run_workers()
        before = OutboxState.objects.get().epoch
        work_for_a_step(monkeypatch)
        row = OutboxState.objects.get()
        assert row.epoch > before
        (file,) = Path(settings.STATE_DIR).iterdir()
        assert int(file.read_text().split()[0]) == row.epoch


class TestTroubleOutside:
    @pytest.fixture
    def blocked(self, settings: Any) -> Path:
        """A file where the folder should be. Root may write anywhere else."""
        place = Path(settings.STATE_DIR)
        place.write_text("")
        return place

    def test_a_worker_that_cannot_look_hands_out_nothing(self, live: Caller, blocked: Path) -> None:
        message = live.send(live.create_inbox())
        run_workers()
        assert state_of(message) == "queued"
        blocked.unlink()
        run_workers()
        assert state_of(message) == "sent"

    def test_one_that_has_looked_goes_on(self, live: Caller, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
        run_workers()
        settings.STATE_DIR = "/dev/null/state"
        message = live.send(live.create_inbox())
        work_for_a_step(monkeypatch)
        assert state_of(message) == "sent"

    def test_it_can_be_paused_then_but_not_resumed(self, live: Caller, blocked: Path) -> None:
        manage("pause")
        with pytest.raises(CommandError, match="stays paused"):
            manage("resume")
        blocked.unlink()
        assert "running" in manage("resume")


class TestObjectStore:
    @pytest.fixture(autouse=True)
    def record_in_the_store(self, settings: Any, store: Store) -> None:
        settings.OUTSIDE_RECORD = "mailbot.lib.outside_record.StoredRecord"

    def test_it_sees_a_restore(self, live: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        run_workers()
        kept = back_up()
        work_for_a_step(monkeypatch)
        restore(kept)
        start_worker(monkeypatch)
        message = live.send(live.create_inbox())
        run_workers()
        assert state_of(message) == "queued"
        manage("resume")
        run_workers()
        assert state_of(message) == "sent"


class TestConsole:
    @pytest.fixture
    def root(self, db: None) -> Client:
        return console(person("root"))

    def press(self, browser: Client, act: str, reason: str = "because") -> Any:
        return browser.post(reverse("admin:delivery_sending"), {"act": act, "reason": reason}, follow=True)

    def test_a_superuser_pauses_and_resumes(self, root: Client, live: Caller) -> None:
        assert "Sending is paused." in self.press(root, "pause").content.decode()
        message = live.send(live.create_inbox())
        run_workers()
        assert state_of(message) == "queued"
        page = root.get(reverse("admin:delivery_sending")).content.decode()
        assert "Resume sending" in page
        assert "1 mail queued" in page
        assert "Sending goes on." in self.press(root, "resume").content.decode()
        run_workers()
        assert state_of(message) == "sent"
        assert set(AuditEntry.objects.filter(act__startswith="outbox.").values_list("actor_name", flat=True)) == {
            "root"
        }

    def test_it_wants_a_reason(self, root: Client) -> None:
        assert self.press(root, "pause", "").status_code == 400
        assert manage("status").startswith("running")

    def test_an_old_page_does_not_do_the_opposite(self, root: Client) -> None:
        assert "Nothing was changed" in self.press(root, "resume").content.decode()
        assert manage("status").startswith("running")

    def test_every_page_says_so_to_everybody(self, root: Client, acme: Account) -> None:
        manage("pause", "--reason", "<b>the provider moves</b>")
        reviewer = console(person("rita", acme, "reviewer"))
        for browser in (root, reviewer):
            for page in (reverse("admin:index"), reverse("admin:inboxes_inbox_changelist")):
                text = browser.get(page).content.decode()
                assert "Sending is paused: no mail leaves." in text
                assert "<b>the provider" not in text
                assert ("resume sending" in text) is (browser is root)
        assert "Sending is paused" not in Client().get(reverse("admin:login")).content.decode()
