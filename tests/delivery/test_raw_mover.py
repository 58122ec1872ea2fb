"""Raw mail on its way from its row into the object store: at every moment somebody has the bytes, and gives them back as they were."""

import threading
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from delivery import raw_mover, tasks
from delivery.models import InboundMail, OutboundMail, RawObject
from delivery.outbound.send import send_due_mail
from delivery.raw_erasure import remove_leaving
from delivery.raw_mover import GIVES_UP_AFTER, move_batch, try_again_now
from inboxes.models import Account, Inbox
from tests.cast import Caller
from tests.console import console, person
from tests.console import failed_inbound as fail
from tests.delivery.raw_mail import NOW, Killed, die, is_whole, leases_run_out, raw, states
from tests.mailing import deliver, mail
from tests.mailing import store as take
from tests.stores import Store

HOUR = timedelta(hours=1)


@pytest.fixture
def inbox(alice: Caller, store: Store) -> Inbox:
    return alice.create_inbox()


class TestMoving:
    def test_it_moves_mail_that_came_in(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        one, two = mail(Subject="one"), mail(Subject="two")
        for content in (one, two):
            deliver(content, inbox)
        batch = move_batch(older_than=NOW)
        assert (batch.moved, batch.octets, batch.failed) == (2, len(one) + len(two), 0)
        assert [(bytes(row.raw), row.raw_in_row) for row in InboundMail.objects.all()] == [(b"", False)] * 2
        assert sorted(store.contents()) == sorted([one, two])
        assert is_whole(alice, inbox, one, two)

    def test_it_moves_mail_that_went_out(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        message = alice.send(inbox, subject="Out")
        content = raw(alice, message).content
        assert move_batch(older_than=NOW).moved == 0  # it has not left yet
        send_due_mail()
        assert move_batch(older_than=NOW).moved == 1
        assert bytes(OutboundMail.objects.get().raw) == b""
        assert store.contents() == [content]
        assert raw(alice, message).content == content

    @pytest.mark.parametrize("content", [b"", b"\r\n.\r\n\x00\xff bare \n and \r", b"x" * (30 * 1024 * 1024)], ids=len)
    def test_it_gives_back_every_byte(self, alice: Caller, inbox: Inbox, store: Store, content: bytes) -> None:
        deliver(content, inbox)
        assert move_batch(older_than=NOW).moved == 1
        (message,) = alice.messages(inbox)
        assert raw(alice, message).content == content

    def test_it_leaves_what_is_not_finished_or_was_finished_lately(self, inbox: Inbox, store: Store) -> None:
        deliver(mail(), inbox)
        fail(inbox)
        take(mail(), inbox)
        assert move_batch(older_than=HOUR).moved == 0
        assert move_batch(older_than=NOW).moved == 1
        assert set(InboundMail.objects.filter(raw_in_row=True).values_list("state", flat=True)) == {"failed", "stored"}

    def test_it_waits_for_as_long_as_it_is_told(self, inbox: Inbox, store: Store, settings: Any) -> None:
        deliver(mail(), inbox)
        tasks.move_raw()
        assert store.names() == []
        InboundMail.objects.update(processed_at=timezone.now() - timedelta(seconds=settings.RAW_MOVE_AFTER + 1))
        tasks.move_raw()
        assert len(store.names()) == 1

    def test_it_lets_mail_that_comes_in_go_first(
        self, inbox: Inbox, store: Store, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.RAW_MOVE_AFTER = 0
        monkeypatch.setattr("delivery.tasks.move_batch", partial(move_batch, limit=1))
        for _ in range(3):
            deliver(mail(), inbox)
        take(mail(), inbox)
        tasks.move_raw()
        assert len(store.names()) == 1
        InboundMail.objects.filter(state="stored").delete()
        tasks.move_raw()
        assert len(store.names()) == 3

    def test_it_takes_only_so_much_at_once(self, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        for _ in range(5):
            deliver(mail(), inbox)
        size = InboundMail.objects.all()[0].size
        assert move_batch(limit=2, older_than=NOW).moved == 2
        monkeypatch.setattr(raw_mover, "BATCH_OCTETS", size * 2 + 10)
        assert move_batch(older_than=NOW).moved == 2
        monkeypatch.setattr(raw_mover, "BATCH_OCTETS", 1)
        assert move_batch(older_than=NOW).moved == 1

    def test_it_finds_what_is_due_by_an_index(self, inbox: Inbox) -> None:
        """A million rows of mail that was moved long ago must not be looked at."""
        with CaptureQueriesContext(connection) as context:
            move_batch()
        chosen = [query["sql"] for query in context.captured_queries if "LIMIT" in query["sql"]]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SET LOCAL enable_seqscan = off")  # a table with nothing in it needs no index
            for sql, index in zip(chosen, ("inbound_raw_to_move", "outbound_raw_to_move"), strict=True):
                cursor.execute(f"EXPLAIN {'QUERY PLAN' if connection.vendor == 'sqlite' else ''} {sql}")
                assert index in str(cursor.fetchall())


class TestKills:
    @pytest.mark.parametrize("hook", ["before_save", "after_save"])
    def test_it_loses_nothing_around_the_write(self, alice: Caller, inbox: Inbox, store: Store, hook: str) -> None:
        content = mail()
        deliver(content, inbox)
        setattr(store.faults, hook, staticmethod(die))
        with pytest.raises(Killed):
            move_batch(older_than=NOW)
        assert is_whole(alice, inbox, content)
        store.faults.mend()
        assert move_batch(older_than=NOW).moved == 0  # for all that others know, the mover is at work
        leases_run_out()
        assert move_batch(older_than=NOW).moved == 1
        assert is_whole(alice, inbox, content)
        assert store.contents() == [content]

    def test_it_loses_nothing_when_the_database_goes_before_the_last_step(
        self, alice: Caller, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        contents = [mail(), mail()]
        for content in contents:
            deliver(content, inbox)
        monkeypatch.setattr(raw_mover, "_keep", die)
        with pytest.raises(Killed):
            move_batch(older_than=NOW)
        assert len(store.names()) == 2
        assert is_whole(alice, inbox, *contents)
        assert set(InboundMail.objects.values_list("raw_in_row", flat=True)) == {True}


class TestBadStores:
    def test_it_keeps_the_mail_while_the_store_is_down(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        content = mail()
        deliver(content, inbox)
        store.faults.is_down = True
        batch = move_batch(older_than=NOW)
        assert (batch.moved, batch.failed, batch.error) == (0, 1, "ConnectionError: Connection refused")
        assert is_whole(alice, inbox, content)
        store.faults.is_down = False
        assert move_batch(older_than=NOW).moved == 0  # not before a pause
        assert try_again_now() == 1
        assert move_batch(older_than=NOW).moved == 1
        assert RawObject.objects.get().error == ""
        assert is_whole(alice, inbox, content)

    def test_it_does_not_ask_a_store_that_is_down_for_each_mail(self, inbox: Inbox, store: Store) -> None:
        for _ in range(40):
            take(mail(), inbox)
        InboundMail.objects.update(state="processed", processed_at=timezone.now())
        store.faults.is_down = True
        batch = move_batch(older_than=NOW)
        assert (batch.moved, batch.goes_on) == (0, False)
        assert batch.failed < GIVES_UP_AFTER + raw_mover.THREADS
        assert batch.left == 40 - batch.failed

    @pytest.mark.parametrize(
        "what_it_keeps", [lambda content: content[:-1], lambda _: b"", lambda content: content[::-1]]
    )
    def test_it_does_not_believe_a_store_that_keeps_something_else(
        self, alice: Caller, inbox: Inbox, store: Store, what_it_keeps: Any
    ) -> None:
        content = mail()
        deliver(content, inbox)
        store.faults.what_it_keeps = staticmethod(what_it_keeps)
        assert move_batch(older_than=NOW).failed == 1
        assert bytes(InboundMail.objects.get().raw) == content
        assert "gives back" in RawObject.objects.get().error
        store.faults.mend()
        try_again_now()
        assert move_batch(older_than=NOW).moved == 1
        assert store.contents() == [content]

    def test_it_moves_the_others_when_the_store_refuses_one(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        for number in range(3):
            deliver(mail(Subject=str(number)), inbox)
        second = InboundMail.objects.order_by("pk")[1]
        store.faults.before_save = staticmethod(lambda name: 1 / 0 if second.pk in name else None)
        batch = move_batch(older_than=NOW)
        assert (batch.moved, batch.failed) == (2, 1)
        assert bytes(InboundMail.objects.get(pk=second.pk).raw)

    def test_it_does_not_move_what_is_not_what_came_in(self, inbox: Inbox, store: Store) -> None:
        deliver(mail(), inbox)
        InboundMail.objects.update(raw=b"something else")
        assert "SHA-256" in move_batch(older_than=NOW).error
        assert store.names() == []
        assert bytes(InboundMail.objects.get().raw) == b"something else"


class TestReading:
    """`…/raw` of mail that was moved."""

    @pytest.fixture
    def message(self, alice: Caller, inbox: Inbox, store: Store) -> dict[str, Any]:
        deliver(mail(), inbox)
        move_batch(older_than=NOW)
        return alice.messages(inbox)[0]

    def is_503(self, answer: Any) -> bool:
        return (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")

    def test_it_is_503_while_the_store_is_down(self, alice: Caller, message: dict[str, Any], store: Store) -> None:
        store.faults.is_down = True
        assert self.is_503(raw(alice, message))

    def test_it_is_503_when_the_store_lost_it(self, alice: Caller, message: dict[str, Any], store: Store) -> None:
        """A folder that is not mounted looks like this."""
        (store.folder / store.names()[0]).unlink()
        assert self.is_503(raw(alice, message))

    def test_it_is_503_when_the_store_has_other_bytes(
        self, alice: Caller, message: dict[str, Any], store: Store
    ) -> None:
        (store.folder / store.names()[0]).write_bytes(b"forged")
        assert self.is_503(raw(alice, message))

    def test_it_is_410_when_it_is_not_kept_any_more(self, alice: Caller, message: dict[str, Any]) -> None:
        RawObject.objects.update(state="leaving")
        assert raw(alice, message).status_code == 410
        RawObject.objects.all().delete()
        assert raw(alice, message).status_code == 410

    def test_it_is_404_for_a_stranger(self, charlie: Caller, message: dict[str, Any]) -> None:
        assert raw(charlie, message).status_code == 404

    def test_the_console_says_the_same(self, acme: Account, message: dict[str, Any], store: Store) -> None:
        olga, url = console(person("olga", acme)), reverse("admin:delivery_raw", args=[message["id"]])
        assert olga.get(url).content == store.contents()[0]
        store.faults.is_down = True
        answer = olga.get(url)
        assert (answer.status_code, b"try again later" in answer.content) == (503, True)
        store.faults.is_down = False
        RawObject.objects.all().delete()
        assert olga.get(url).status_code == 404


class TestTwoMovers:
    def test_the_second_leaves_what_the_first_has(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        deliver(mail(), inbox)
        second = []
        store.faults.before_save = staticmethod(lambda name: second.append(move_batch(older_than=NOW)))
        assert move_batch(older_than=NOW).moved == 1
        assert second == [raw_mover.Moved()]
        assert len(store.faults.saves) == 1

    def test_one_that_was_stopped_past_its_lease_does_no_harm(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        content = mail()
        deliver(content, inbox)

        def meanwhile(name: str) -> None:
            store.faults.mend()
            leases_run_out()
            assert move_batch(older_than=NOW).moved == 1

        store.faults.before_save = staticmethod(meanwhile)
        assert move_batch(older_than=NOW).moved == 0
        assert remove_leaving() == 0
        assert (states(), store.contents()) == (["kept"], [content])
        assert is_whole(alice, inbox, content)

    def test_a_lease_of_a_clock_that_was_put_back_holds_up_nothing(self, inbox: Inbox, store: Store) -> None:
        deliver(mail(), inbox)
        store.faults.after_save = staticmethod(die)
        with pytest.raises(Killed):
            move_batch(older_than=NOW)
        store.faults.mend()
        RawObject.objects.update(lease_until=timezone.now() + timedelta(days=1))
        assert move_batch(older_than=NOW).moved == 1

    def test_one_that_was_stopped_past_its_lease_finishes_nothing_of_others(self, inbox: Inbox, store: Store) -> None:
        deliver(mail(), inbox)
        held = {"lease_token": "another's", "lease_until": timezone.now() + timedelta(minutes=5)}
        store.faults.after_save = staticmethod(lambda name: RawObject.objects.update(**held))
        assert move_batch(older_than=NOW).moved == 0
        assert InboundMail.objects.get().raw_in_row
        assert (states(), RawObject.objects.get().lease_token) == (["moving"], "another's")

    @pytest.mark.django_db(transaction=True)
    def test_many_move_each_mail_once(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mailbot.lib.hints.send", lambda task: None)
        alice = Caller(Account.objects.create(name="Acme"), "Alice")
        inbox = alice.create_inbox()
        contents = [mail(Subject=str(number)) for number in range(60)]
        for content in contents:
            take(content, inbox)
        deliver(contents[0] + b"last", inbox)
        batches: list[raw_mover.Moved] = []

        def work() -> None:
            try:
                while (batch := move_batch(limit=7, older_than=NOW)).goes_on:
                    batches.append(batch)
            finally:
                connection.close()

        movers = [threading.Thread(target=work) for _ in range(4)]
        for mover in movers:
            mover.start()
        for mover in movers:
            mover.join()
        assert sum(batch.moved for batch in batches) == 61
        assert len(store.faults.saves) == len(store.names()) == 61
        assert sorted(store.contents()) == sorted([*contents, contents[0] + b"last"])
        assert set(states()) == {"kept"}


class TestCommand:
    def run(self, *arguments: str) -> str:
        out = StringIO()
        call_command("move_raw", *arguments, stdout=out)
        return out.getvalue()

    def test_it_moves_everything(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        for _ in range(3):
            deliver(mail(), inbox)
        assert self.run().startswith("0 mails moved")
        assert self.run("--all").startswith("3 mails moved")
        assert len(store.names()) == 3

    def test_it_says_what_the_store_said_and_goes_on_once_it_is_mended(self, inbox: Inbox, store: Store) -> None:
        deliver(mail(), inbox)
        store.faults.is_down = True
        with pytest.raises(CommandError, match="Connection refused"):
            self.run("--all")
        store.faults.is_down = False
        assert self.run("--all").startswith("1 mails moved")
