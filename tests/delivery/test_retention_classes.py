"""The sweep of retention classes: what goes when, what stays, and what goes on working meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone

from audit.models import AuditEntry
from audit.sealing import seal_all
from audit.verifying import verify
from delivery import retention_parts, retention_sweep, tasks
from delivery.models import InboundMail, OutboundMail, RawObject
from delivery.raw_mover import move_batch
from delivery.retention import Pass, remove_finished_rows, remove_old_raw
from inboxes.holds import place, release
from inboxes.models import Inbox, LegalHold, RetentionClass
from inboxes.provisioning import purge_inbox
from inboxes.retention_classes import make_class
from tests.cast import Caller, run_workers
from tests.mailing import deliver, mail
from tests.mailing import store as take
from tests.stores import Store
from threads.erasure import erase_messages
from threads.models import Attachment, Event, Message, SearchDocument, Thread
from threads.search_index import index_batch
from threads.wanted import first_match, wanted

CASE = {"matter": "Smith v. Shop", "reason": "A claim"}


@pytest.fixture
def inbox(alice: Caller, store: Store) -> Inbox:
    return alice.create_inbox(username="alice")


@pytest.fixture(autouse=True)
def times(settings: Any) -> None:
    settings.INBOUND_RETENTION_DAYS, settings.RAW_RETENTION_DAYS = 30, 0


@contextmanager
def after_days(days: float) -> Iterator[None]:
    with time_machine.travel(timezone.now() + timedelta(days=days)):
        yield


def keep(inbox: Inbox, **days: int | None) -> RetentionClass:
    """The inbox gets a class of its own."""
    retention = make_class(inbox.account, {"name": f"of {inbox.pk}", **days})
    Inbox.objects.filter(pk=inbox.pk).update(retention_class=retention)
    return retention


def move() -> None:
    while move_batch(older_than=timedelta()).goes_on:
        pass


def index() -> None:
    while index_batch():
        pass


def shown(caller: Caller, inbox: Inbox) -> dict[str, Any]:
    return dict(caller.get(f"/v1/inboxes/{inbox.pk}").json()["data"])


def subjects(caller: Caller, inbox: Inbox) -> list[str]:
    return [message["subject"] for message in caller.messages(inbox)]


def told(inbox: Inbox, act: str) -> list[dict[str, Any]]:
    return list(AuditEntry.objects.filter(inbox_id=inbox.pk, act=act).order_by("pk").values_list("changes", flat=True))


class TestContent:
    def test_nothing_of_it_stays(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        keep(inbox, content_days=30)
        deliver(mail(Subject="Old", body="the password is hunter2\n", attachments={"a.txt": b"secret"}), inbox)
        alice.send(inbox, subject="Sent", body_text="secret")
        run_workers()
        move()
        index()
        with after_days(29):
            assert retention_sweep.sweep()["content"] == 0
            assert len(alice.messages(inbox)) == 2
        with after_days(31):
            tasks.sweep_retention()
            tasks.remove_raw()
            assert alice.messages(inbox) == []
            assert alice.post(f"/v1/inboxes/{inbox.pk}/messages/search", {"query": "hunter2"}).json()["data"] == []
        for model in (Message, Attachment, Thread, SearchDocument, InboundMail, OutboundMail, RawObject):
            assert not model._default_manager.exists(), model
        assert store.names() == []

    def test_counters_are_right_and_numbers_are_not_given_again(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=30)
        for number in range(3):
            deliver(mail(Subject=f"Old {number}", attachments={"a.txt": b"12345"}), inbox)
        with after_days(31):
            deliver(mail(Subject="New", attachments={"a.txt": b"123"}), inbox)
            newest = Message.objects.get(subject="New")
            retention_sweep.sweep()
            told_ = shown(alice, inbox)
            assert (told_["message_count"], told_["thread_count"]) == (1, 1)
            row = Inbox.objects.get(pk=inbox.pk)
            assert (row.message_octets, row.attachment_octets) == (newest.size, 3)
            assert newest.sequence == 4
            deliver(mail(Subject="Newer"), inbox)
            assert Message.objects.get(subject="Newer").sequence == 5
            assert shown(alice, inbox)["message_count"] == 2

    def test_a_thread_keeps_what_is_younger(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=30)
        first = mail(Subject="Q", Message_ID="<one@x.example>", From="ann@x.example", Cc="ben@x.example")
        deliver(first, inbox)
        with after_days(20):
            deliver(mail(Subject="Re: Q", In_Reply_To="<one@x.example>", From="ben@x.example", body="Younger\n"), inbox)
        thread = Thread.objects.get()
        assert thread.message_count == 2
        with after_days(31):
            retention_sweep.sweep()
        thread.refresh_from_db()
        assert (thread.message_count, thread.preview) == (1, "Younger")
        assert "ann@x.example" not in thread.participants
        assert "ben@x.example" in thread.participants
        assert shown(alice, inbox)["thread_count"] == 1

    def test_what_was_set_aside_goes_too(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=30)
        alice.post("/v1/lists/receive/block", {"pattern": "spam.example"})
        deliver(mail(Subject="Spam", From="x@spam.example"), inbox, envelope_sender="x@spam.example")
        with after_days(31):
            assert retention_sweep.sweep()["content"] == 1
            assert (shown(alice, inbox)["message_count"], shown(alice, inbox)["thread_count"]) == (0, 0)
        assert not Thread.objects.exists()

    def test_what_is_on_its_way_out_stays_until_it_is_settled(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=1)
        later = (timezone.now() + timedelta(days=10)).isoformat()
        alice.send(inbox, subject="Waits", send_at=later)
        deliver(mail(Subject="Behind it"), inbox)
        with after_days(2):
            assert retention_sweep.sweep()["content"] == 1
            assert subjects(alice, inbox) == ["Waits"]

    def test_a_mail_that_another_inbox_has_keeps_its_raw_bytes(
        self, alice: Caller, charlie: Caller, inbox: Inbox, store: Store
    ) -> None:
        theirs = charlie.create_inbox()
        keep(inbox, content_days=30)
        deliver(mail(Subject="Shared", attachments={"a.txt": b"shared"}), inbox, theirs)
        move()
        with after_days(31):
            retention_sweep.sweep()
            tasks.remove_raw()
            (message,) = charlie.messages(theirs)
            assert charlie.get(f"/v1/inboxes/{theirs.pk}/messages/{message['id']}/raw").status_code == 200
        assert not Message.objects.filter(inbox=inbox).exists()

    def test_deleted_inboxes_too(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=30)
        deliver(mail(), inbox)
        alice.delete(f"/v1/inboxes/{inbox.pk}")
        with after_days(31):
            assert retention_sweep.sweep()["content"] == 1

    def test_it_says_so_in_the_trail(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=30)
        deliver(mail(attachments={"a.txt": b"12"}), inbox)
        octets = Message.objects.get().size
        with after_days(31):
            tasks.sweep_retention()
        entry = AuditEntry.objects.get(act="content.removed")
        assert (entry.actor_kind, entry.actor_id, entry.inbox_id) == ("system", "retention", inbox.pk)
        numbers = {name: entry.changes[name] for name in ("messages", "octets", "attachments", "threads", "reason")}
        assert numbers == {"messages": 1, "octets": octets, "attachments": 1, "threads": 1, "reason": "retention"}
        assert len(alice.get("/v1/audit-log", action="content.removed").json()["data"]) == 1


class TestWhoReadsOn:
    def test_a_list_goes_on_behind_a_message_that_is_gone(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=30)
        for number in range(2):
            deliver(mail(Subject=f"Old {number}"), inbox)
        gone = alice.messages(inbox)[0]["id"]
        with after_days(31):
            deliver(mail(Subject="New"), inbox)
            retention_sweep.sweep()
            found = alice.messages(inbox, after=gone)
            assert [message["subject"] for message in found] == ["New"]
            assert alice.messages(inbox, before=gone) == []

    def test_a_wait_goes_on_behind_one_too(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=30)
        deliver(mail(Subject="Old"), inbox)
        gone = alice.messages(inbox)[0]["id"]
        query = {"after": gone, "direction": "inbound", "has_code": None}
        with after_days(31):
            retention_sweep.sweep()
            now = Inbox.objects.get(pk=inbox.pk)
            assert first_match(wanted(now, query), now) is None
            deliver(mail(Subject="New"), inbox)
            now = Inbox.objects.get(pk=inbox.pk)
            found = first_match(wanted(now, query), now)
            assert found is not None
            assert found.subject == "New"
            other = alice.create_inbox()
            assert first_match(wanted(other, query), other) is None

    def test_a_message_of_another_inbox_is_still_before_nothing(self, alice: Caller, inbox: Inbox) -> None:
        other = alice.create_inbox()
        keep(other, content_days=30)
        deliver(mail(), other)
        gone = alice.messages(other)[0]["id"]
        with after_days(31):
            deliver(mail(Subject="New"), inbox)
            retention_sweep.sweep()
            assert alice.messages(inbox, after=gone) == []

    def test_a_page_goes_on_while_the_end_of_it_goes(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, content_days=30)
        for number in range(3):
            deliver(mail(Subject=f"Old {number}"), inbox)
        with after_days(20):
            for number in range(3):
                deliver(mail(Subject=f"New {number}"), inbox)
        with after_days(31):
            first = alice.get(f"/v1/inboxes/{inbox.pk}/messages", limit=2).json()
            retention_sweep.sweep()
            cursor = first["meta"]["next_cursor"]
            rest = alice.get(f"/v1/inboxes/{inbox.pk}/messages", limit=2, cursor=cursor).json()["data"]
            assert [message["subject"] for message in rest] == ["New 0"]


class TestRaw:
    def test_it_goes_before_its_message(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        keep(inbox, content_days=365, raw_days=30)
        raw = mail()
        deliver(raw, inbox)
        alice.send(inbox, body_text="x")
        run_workers()
        move()
        with after_days(31):
            assert retention_sweep.sweep()["raw"] == 2
            tasks.remove_raw()
            answers = [
                alice.get(f"/v1/inboxes/{inbox.pk}/messages/{one['id']}/raw").status_code
                for one in alice.messages(inbox)
            ]
        assert (answers, store.names()) == ([410, 410], [])
        (entry,) = told(inbox, "raw.removed")
        assert entry["mails"] == 2

    def test_what_was_for_two_goes_when_both_let_it(
        self, alice: Caller, charlie: Caller, inbox: Inbox, store: Store
    ) -> None:
        theirs = charlie.create_inbox()
        keep(inbox, raw_days=30)
        deliver(mail(), inbox, theirs)
        move()
        with after_days(31):
            assert retention_sweep.sweep()["raw"] == 0
            keep(theirs, raw_days=20)
            Inbox.objects.update(retention_due_at=timezone.now())
            assert retention_sweep.sweep()["raw"] == 1
        assert len(told(inbox, "raw.removed")) == len(told(theirs, "raw.removed")) == 1

    def test_a_class_goes_before_the_servers_setting(
        self, alice: Caller, inbox: Inbox, store: Store, settings: Any
    ) -> None:
        settings.RAW_RETENTION_DAYS = 30
        other = alice.create_inbox()
        keep(inbox, raw_days=None)
        for one in (inbox, other):
            deliver(mail(), one)
        move()
        make_old_cards(31)
        assert remove_old_raw() == 1
        assert RawObject.objects.get(state="kept").inbox_id == inbox.pk


def make_old_cards(days: int) -> None:
    from mailbot.lib.ids import first_id

    at = timezone.now() - timedelta(days=days)
    for number, card in enumerate(RawObject.objects.order_by("pk")):
        RawObject.objects.filter(pk=card.pk).update(mail_id=first_id("inmail", at)[:-2] + f"{number:02}", mail_at=at)


class TestEvents:
    def test_they_go_and_what_was_counted_stays(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, events_days=30)
        other = alice.create_inbox()
        deliver(mail(), inbox)
        alice.send(inbox, body_text="x")
        run_workers()
        before = alice.get("/v1/engagement/stats").json()["data"]
        number = Event.objects.filter(inbox=inbox).count()
        with after_days(31):
            deliver(mail(), inbox)
            # Ids are made by the real clock, so that the young ones are among the old: their number is what is looked at.
            young = Event.objects.filter(inbox=inbox).count() - number
            assert retention_sweep.sweep()["events"] == number + young
        assert not Event.objects.filter(inbox=inbox).exists()
        assert Event.objects.filter(inbox=other).exists()
        assert len(Message.objects.filter(inbox=inbox)) == 3
        assert told(inbox, "events.removed")[0]["events"] == number + young
        assert alice.get("/v1/engagement/stats").json()["data"] == before


class TestTrail:
    def test_entries_leave_and_the_trail_holds(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, audit_days=30)
        other = alice.create_inbox()
        deliver(mail(), inbox)
        hold = place(alice.account, inbox=inbox, **CASE)
        release(hold, reason="over")
        seal_all()
        of_it = AuditEntry.objects.filter(inbox_id=inbox.pk)
        number = of_it.exclude(act__startswith="hold.").count()
        with after_days(31):
            assert retention_sweep.sweep()["audit"] == number
            assert set(of_it.values_list("act", flat=True)) == {"hold.placed", "hold.released", "trail.removed"}
            (entry,) = told(inbox, "trail.removed")
            assert (entry["reason"], entry["entries"]) == ("retention", number)
            seal_all()
            verdict = verify(alice.account.pk)
            assert (verdict.holds, verdict.removed) == (True, number)
            answer = alice.get("/v1/audit-log/verify").json()["data"]
            assert answer["holds"]
            out = StringIO()
            call_command("verify_audit", stdout=out)
            Inbox.objects.update(retention_due_at=timezone.now())
            assert retention_sweep.sweep()["audit"] == 0
        assert AuditEntry.objects.filter(inbox_id=other.pk).exists()

    def test_what_is_not_sealed_waits(self, alice: Caller, inbox: Inbox) -> None:
        keep(inbox, audit_days=30)
        seal_all()
        deliver(mail(), inbox)
        with after_days(31):
            retention_sweep.sweep()
            left = AuditEntry.objects.filter(inbox_id=inbox.pk).exclude(act="trail.removed")
            assert list(left.values_list("act", flat=True)) == ["message.received"]
            seal_all()
            assert verify(alice.account.pk).holds

    def test_it_goes_in_pieces(self, alice: Caller, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention_parts, "OTHERS", 2)
        keep(inbox, audit_days=30)
        for _ in range(4):
            deliver(mail(), inbox)
        seal_all()
        with after_days(31):
            assert retention_sweep.sweep()["audit"] >= 5
            assert len(told(inbox, "trail.removed")) >= 3
            seal_all()
            assert verify(alice.account.pk).holds


class TestSweep:
    def test_the_default_class_is_for_all_that_name_none(self, alice: Caller, charlie: Caller, inbox: Inbox) -> None:
        theirs, longer = charlie.create_inbox(), alice.create_inbox()
        make_class(alice.account, {"name": "Default", "content_days": 30, "is_default": True})
        keep(longer, content_days=60)
        for one in (inbox, longer, theirs):
            deliver(mail(), one)
        with after_days(31):
            assert retention_sweep.sweep()["content"] == 1
        assert not Message.objects.filter(inbox=inbox).exists()

    def test_nothing_goes_without_a_class(self, alice: Caller, inbox: Inbox) -> None:
        deliver(mail(), inbox)
        with after_days(3650):
            assert not retention_sweep.sweep()

    def test_it_goes_on_where_it_stopped(self, alice: Caller, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
        """Time is over after each batch; the others have their turn before the rest of a long one."""
        monkeypatch.setattr(retention_parts, "MESSAGES", 2)
        other = alice.create_inbox()
        make_class(alice.account, {"name": "Default", "content_days": 30, "is_default": True})
        for _ in range(5):
            deliver(mail(), inbox)
        deliver(mail(), other)
        with after_days(31):
            runs = []
            while run := retention_sweep.sweep(seconds=-1):
                runs.append(run["content"])
            assert sum(runs) == 6
            assert max(runs) == 2
            assert runs.index(1) < len(runs) - 1
            assert not Message.objects.exists()

    def test_a_killed_sweep_goes_on(self, alice: Caller, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention_parts, "MESSAGES", 2)
        keep(inbox, content_days=30)
        for _ in range(5):
            deliver(mail(), inbox)
        whole = erase_messages
        calls = []

        def killed(*given: Any) -> Any:
            calls.append(given)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return whole(*given)

        with after_days(31):
            monkeypatch.setattr(retention_parts, "erase_messages", killed)
            with pytest.raises(KeyboardInterrupt):
                retention_sweep.sweep()
            assert Message.objects.count() == 3
            assert retention_sweep.sweep()["content"] == 0  # its claim is not over
        with after_days(31.01):
            assert retention_sweep.sweep()["content"] == 3
            assert sum(one["messages"] for one in told(inbox, "content.removed")) == 5
            assert shown(alice, inbox)["message_count"] == 0

    def test_what_fails_for_one_holds_up_no_other(
        self, alice: Caller, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = alice.create_inbox()
        make_class(alice.account, {"name": "Default", "content_days": 30, "is_default": True})
        for one in (inbox, other):
            deliver(mail(), one)
        whole = erase_messages

        def broken(of: Inbox, ids: Any) -> Any:
            if of.pk == inbox.pk:
                raise ValueError("It broke.")
            return whole(of, ids)

        monkeypatch.setattr(retention_parts, "erase_messages", broken)
        with after_days(31):
            assert retention_sweep.sweep()["content"] == 1
        assert list(Message.objects.values_list("inbox_id", flat=True)) == [inbox.pk]

    def test_a_longer_class_in_time_keeps_it(self, alice: Caller, inbox: Inbox) -> None:
        retention = keep(inbox, content_days=30)
        deliver(mail(), inbox)
        alice.patch(f"/v1/retention-classes/{retention.pk}", {"content_days": 60})
        with after_days(31):
            assert retention_sweep.sweep()["content"] == 0


class TestHolds:
    @pytest.mark.parametrize("of_account", [False, True])
    def test_nothing_of_a_held_inbox_goes_until_it_is_released(
        self, alice: Caller, inbox: Inbox, store: Store, of_account: bool
    ) -> None:
        keep(inbox, content_days=30, raw_days=30, events_days=30, audit_days=30)
        deliver(mail(), inbox)
        move()
        hold = place(alice.account, inbox=None if of_account else inbox, **CASE)
        seal_all()
        events, entries = Event.objects.count(), AuditEntry.objects.count()
        with after_days(31):
            assert not retention_sweep.sweep()
            assert (Event.objects.count(), AuditEntry.objects.count()) == (events, entries)
            assert (Message.objects.count(), len(store.names())) == (1, 1)
            release(hold, reason="over")
            done = retention_sweep.sweep()
            assert (done["content"], done["events"] > 0, done["audit"] > 0) == (1, True, True)
            tasks.remove_raw()
            assert store.names() == []

    def test_a_hold_that_comes_after_the_sweep_took_the_inbox_is_seen(
        self, alice: Caller, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keep(inbox, content_days=30, events_days=30)
        deliver(mail(), inbox)
        place(alice.account, inbox=inbox, **CASE)
        monkeypatch.setattr(retention_sweep, "due", lambda: Inbox.objects.filter(retention_due_at__lte=timezone.now()))
        with after_days(31):
            done = retention_sweep.sweep()
            assert (done["inboxes"], done["content"], done["events"]) == (1, 0, 0)

    def test_those_behind_it_go(self, alice: Caller, inbox: Inbox) -> None:
        make_class(alice.account, {"name": "Default", "content_days": 30, "is_default": True})
        other = alice.create_inbox()
        for one in (inbox, other):
            deliver(mail(), one)
        place(alice.account, inbox=inbox, **CASE)
        with after_days(31):
            assert retention_sweep.sweep(seconds=-1)["content"] == 1
        assert Message.objects.get().inbox_id == inbox.pk

    def test_the_raw_mail_of_a_held_inbox_stays_whose_ever_it_was_first(
        self, alice: Caller, charlie: Caller, inbox: Inbox, store: Store, settings: Any
    ) -> None:
        settings.RAW_RETENTION_DAYS = 30
        theirs = charlie.create_inbox()
        deliver(mail(Subject="shared"), theirs, inbox)
        deliver(mail(Subject="own"), inbox)
        deliver(mail(Subject="theirs"), theirs)
        move()
        hold = place(alice.account, inbox=inbox, **CASE)
        make_old_cards(31)
        assert [remove_old_raw(limit=1) for _ in range(2)] == [1, 0]
        assert len(RawObject.objects.filter(state="kept")) == 2
        release(hold, reason="over")
        assert remove_old_raw() == 2

    def test_a_purge_elsewhere_takes_nothing_of_it(
        self, alice: Caller, charlie: Caller, inbox: Inbox, store: Store
    ) -> None:
        theirs = charlie.create_inbox()
        deliver(mail(attachments={"a.txt": b"x"}), theirs, inbox)
        move()
        place(alice.account, inbox=inbox, **CASE)
        purge_inbox(theirs)
        tasks.remove_raw()
        (message,) = alice.messages(inbox)
        assert alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").status_code == 200

    def test_finished_rows_of_it_stay_and_hold_up_no_others(
        self, alice: Caller, charlie: Caller, inbox: Inbox, store: Store
    ) -> None:
        theirs = charlie.create_inbox()
        for _ in range(3):
            deliver(mail(), inbox)
        deliver(mail(), theirs)
        move()
        hold = place(alice.account, inbox=inbox, **CASE)
        with after_days(31):
            assert [remove_finished_rows(limit=1) for _ in range(2)] == [1, 0]
            assert InboundMail.objects.count() == 3
            release(hold, reason="over")
            assert remove_finished_rows() == 3


class TestPass:
    def test_it_begins_anew_at_the_end(self, alice: Caller, inbox: Inbox) -> None:
        for _ in range(4):
            take(mail(), inbox)
        rows, names = InboundMail.objects.all(), list(InboundMail.objects.order_by("pk").values_list("pk", flat=True))
        one, staying = Pass(), {names[0], names[1]}
        held = lambda found: staying & {row.pk for row in found}  # noqa: E731
        assert [row.pk for row in one.next_free(rows, 2, held)] == names[2:]
        assert one.after == names[1]
        staying = set(names[1:])
        assert [row.pk for row in one.next_free(rows, 2, held)] == [names[0]]
        staying = set(names)
        assert one.next_free(rows, 2, held) == []
        assert one.after == ""


class TestCommand:
    def run(self, *given: str) -> str:
        out = StringIO()
        call_command("retention", *given, stdout=out)
        return out.getvalue()

    def test_it_tells_what_would_go_and_removes_nothing(self, alice: Caller, inbox: Inbox) -> None:
        assert "No inbox has a retention class" in self.run("--dry-run")
        held = alice.create_inbox()
        make_class(alice.account, {"name": "Short", "content_days": 30, "is_default": True})
        for one in (inbox, held):
            deliver(mail(), one)
        place(alice.account, inbox=held, **CASE)
        with after_days(31):
            lines = self.run("--dry-run").splitlines()
            assert lines == [
                f"{inbox.pk} {inbox.address} (class “Short”): 1 content",
                f"{held.pk} {held.address} (class “Short”): 1 content (held: Smith v. Shop)",
            ]
            assert self.run("--dry-run", "--inbox", inbox.pk).splitlines() == lines[:1]
            assert Message.objects.count() == 2
            assert self.run() == "1 inboxes looked at, 1 content removed\n"
        assert Message.objects.get().inbox_id == held.pk
        entry = AuditEntry.objects.get(act="content.removed")
        assert entry.actor_id == "manage.py retention"


class TestHoldCommand:
    def run(self, *given: str) -> str:
        out = StringIO()
        call_command("hold", *given, stdout=out)
        return out.getvalue().strip()

    def test_it_places_lists_and_releases(self, alice: Caller, inbox: Inbox) -> None:
        assert self.run("list") == "There is none."
        placed = self.run("place", "--inbox", inbox.pk, "--matter", "Smith", "--reason", "A claim")
        of_all = self.run("place", "--account", alice.account.name, "--matter", "All", "--reason", "A claim")
        assert [line.split()[0] for line in self.run("list").splitlines()] == [placed, of_all]
        assert LegalHold.objects.get(pk=placed).placed_by == "manage.py hold"
        assert self.run("release", placed, "--reason", "over") == "released: Smith"
        assert [line.split()[0] for line in self.run("list").splitlines()] == [of_all]
        assert len(self.run("list", "--all").splitlines()) == 2
        acts = AuditEntry.objects.filter(act__startswith="hold.").order_by("pk").values_list("act", "actor_id")
        assert {actor for _, actor in acts} == {"manage.py hold"}
        assert [act for act, _ in acts] == ["hold.placed", "hold.placed", "hold.released"]
