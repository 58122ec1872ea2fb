"""Large mail is in the object store before it is acknowledged, and its row only names it."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction
from django.utils import timezone

from delivery.inbound import large, receive
from delivery.inbound.process import process_inbound
from delivery.inbound.receive import InboundRecipient, Outcome, ReceivedMail, StorageError, store_inbound_mail
from delivery.models import InboundMail, RawObject, StorageFigures
from delivery.raw_erasure import remove_leaving
from delivery.raw_mover import move_batch
from delivery.retention import remove_finished_rows, remove_old_raw
from delivery.storage_figures import count_storage
from inboxes.models import Inbox
from inboxes.provisioning import purge_inbox
from tests.cast import Caller
from tests.delivery.inbound.conftest import PATIENCE
from tests.delivery.raw_mail import NOW, Killed, die, is_whole, leases_run_out, raw, states
from tests.mailing import mail
from tests.mailing import store as take
from tests.stores import Store

pytestmark = pytest.mark.django_db(transaction=True)
LIMIT = 2_000  # octets
MEBIBYTE = 1024 * 1024


def a_large_one(subject: str = "large", size: int = LIMIT) -> bytes:
    return mail(Subject=subject, body="a line of a long body\n" * (size // 20))


@pytest.fixture(autouse=True)
def at_ease(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.RAW_TO_STORE_ABOVE = LIMIT
    monkeypatch.setattr("mailbot.lib.hints.send", lambda task: None)
    monkeypatch.setitem(large._left_alone, "until", 0.0)


@pytest.fixture
def inbox(alice: Caller, store: Store) -> Inbox:
    return alice.create_inbox()


def delivery(content: bytes, *inboxes: Inbox, key: str = "") -> ReceivedMail:
    recipients = tuple(InboundRecipient(inbox.address, "", inbox.pk) for inbox in inboxes)
    return ReceivedMail("smtp", key, "a@example.com", recipients, content)


def process_all() -> None:
    while process_inbound():
        pass


def in_rows() -> list[bytes]:
    rows = InboundMail.objects.filter(raw_in_row=True).order_by("pk")
    return [bytes(content) for content in rows.values_list("raw", flat=True)]


def everything_due() -> None:
    InboundMail.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))


class TestSMTP:
    @pytest.mark.parametrize("limit", [LIMIT, MEBIBYTE])
    def test_it_keeps_every_octet(
        self, start_smtp: Any, alice: Caller, inbox: Inbox, store: Store, settings: Any, limit: int
    ) -> None:
        settings.RAW_TO_STORE_ABOVE = limit
        content = b"Subject: octets\r\n\r\n" + b"\x00\xff bare \r and \n\r\n.dot\r\n..\r\n" * (limit // 20)
        sent = content.replace(b"\r\n.", b"\r\n..")
        client = start_smtp(max_size=4 * MEBIBYTE).client()
        assert client.deliver(inbox.address, sent) == "250 2.0.0 OK"
        row, card = InboundMail.objects.get(), RawObject.objects.get()
        assert (bytes(row.raw), row.raw_in_row, row.size) == (b"", False, len(content))
        assert (card.pk, card.state, card.sha256) == (row.pk, "kept", row.sha256)
        assert (card.inbox_id, card.account_id, card.other_inboxes) == (inbox.pk, alice.account.pk, [])
        assert (store.names(), store.contents()) == ([card.name], [content])
        process_all()
        assert is_whole(alice, inbox, content)
        assert move_batch(older_than=NOW).moved == 0

    def test_it_says_nothing_before_the_store_has_it_and_keeps_nobody_waiting(
        self, start_smtp: Any, inbox: Inbox, store: Store
    ) -> None:
        is_writing, go_on = threading.Event(), threading.Event()

        def slowly(name: str) -> None:
            is_writing.set()
            assert go_on.wait(PATIENCE)

        store.faults.before_save = staticmethod(slowly)
        server = start_smtp()
        big, small = server.client(), server.client()
        big.begin(inbox.address)
        big.send(a_large_one() + b".\r\n")
        assert is_writing.wait(PATIENCE)
        assert small.deliver(inbox.address, b"Subject: small\r\n\r\nhello\r\n").startswith("250")
        assert InboundMail.objects.count() == 1
        go_on.set()
        assert big.reply().startswith("250")
        assert InboundMail.objects.count() == 2

    @pytest.mark.parametrize(
        ("error", "code"), [("trouble", "451 4.3.0"), ("database or disk is full", "452 4.3.1")], ids=["away", "full"]
    )
    def test_it_promises_nothing_that_has_no_row(
        self, start_smtp: Any, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch, error: str, code: str
    ) -> None:
        def refuse(rows: Any) -> None:
            assert len(store.names()) == 1
            raise OperationalError(error) from cause

        cause = Exception()
        vars(cause).update(sqlite_errorname="SQLITE_FULL" if "full" in error else "SQLITE_IOERR")
        client = start_smtp().client()
        with monkeypatch.context() as patch:
            patch.setattr(receive, "bulk_insert", refuse)
            assert client.deliver(inbox.address, a_large_one()).startswith(code)
        assert (states(), remove_leaving()) == (["leaving"], 1)
        assert (store.names(), states()) == ([], [])
        content = a_large_one()
        assert client.deliver(inbox.address, content).startswith("250")
        assert store.contents() == [content]

    def test_it_leaves_nothing_of_a_mail_whose_inbox_is_gone(self, start_smtp: Any, inbox: Inbox, store: Store) -> None:
        client = start_smtp().client()
        client.begin(inbox.address)
        Inbox.objects.update(status=Inbox.Status.DELETED)
        client.send(a_large_one() + b".\r\n")
        assert client.reply().startswith("550 5.1.1")
        assert remove_leaving() == 1
        assert (store.names(), states()) == ([], [])


class TestSetting:
    @pytest.mark.parametrize(("above", "in_store"), [(0, 0), (10_000, 1), (1, 2)])
    def test_it_says_what_is_large(self, inbox: Inbox, store: Store, settings: Any, above: int, in_store: int) -> None:
        settings.RAW_TO_STORE_ABOVE = above
        contents = [b"x" * 10_000, b"x" * 10_001]
        assert store_inbound_mail([delivery(content, inbox) for content in contents]) == [Outcome.STORED] * 2
        assert sorted(store.contents(), key=len) == contents[2 - in_store :]
        assert sorted(in_rows(), key=len) == contents[: 2 - in_store]


class TestOtherWays:
    def test_what_a_test_simulates_is_in_it_too(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        answer = alice.post("/v1/simulate/received", {"inbox_id": inbox.pk, "body_text": "a line\n" * LIMIT})
        assert answer.status_code == 202
        assert (RawObject.objects.get().account_id, len(store.names())) == (alice.account.pk, 1)

    def test_within_a_transaction_nobody_waits_for_the_store(self, inbox: Inbox, store: Store) -> None:
        content = a_large_one()
        with transaction.atomic():
            take(content, inbox)
        assert (in_rows(), store.names()) == ([content], [])


class TestStoreAway:
    def test_the_row_has_it(self, alice: Caller, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        contents = [a_large_one(str(number)) for number in range(3)]
        store.faults.is_down = True
        take(contents[0], inbox)
        store.faults.is_down = False
        take(contents[1], inbox)  # the store is not asked again so soon
        assert (in_rows(), store.names()) == (contents[:2], [])
        monkeypatch.setitem(large._left_alone, "until", 0.0)
        take(contents[2], inbox)
        assert (in_rows(), store.contents()) == (contents[:2], contents[2:])
        process_all()
        assert is_whole(alice, inbox, *contents)
        remove_leaving()
        assert move_batch(older_than=NOW).moved == 2
        assert is_whole(alice, inbox, *contents)
        assert len(store.names()) == 3

    @pytest.mark.parametrize("what_it_keeps", [lambda content: content[:-1], lambda _: b""])
    def test_the_row_has_what_the_store_does_not_give_back(
        self, inbox: Inbox, store: Store, what_it_keeps: Any
    ) -> None:
        store.faults.what_it_keeps = staticmethod(what_it_keeps)
        content = a_large_one()
        take(content, inbox)
        assert in_rows() == [content]
        remove_leaving()
        assert store.names() == []

    def test_a_mail_that_is_in_it_waits_and_keeps_nobody_waiting(
        self, alice: Caller, inbox: Inbox, store: Store
    ) -> None:
        content, small = a_large_one(), mail(Subject="small")
        take(content, inbox)
        take(small, inbox)
        store.faults.is_down = True
        for _ in range(6):  # more often than a mail is tried that is at fault itself
            process_all()
            everything_due()
        assert [message["subject"] for message in alice.messages(inbox)] == ["small"]
        row = InboundMail.objects.get(state="stored")
        assert "Connection refused" in row.error
        store.faults.is_down = False
        process_all()
        assert is_whole(alice, inbox, content, small)


class TestOnce:
    def test_a_delivery_that_comes_again_is_there_once(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        first, again = a_large_one(), a_large_one("again")
        assert store_inbound_mail([delivery(first, inbox, key="1")]) == [Outcome.STORED]
        assert store_inbound_mail([delivery(again, inbox, key="1")] * 2) == [Outcome.STORED] * 2
        remove_leaving()
        assert (InboundMail.objects.count(), store.contents(), states()) == (1, [first], ["kept"])
        process_all()
        assert is_whole(alice, inbox, first)

    def test_several_of_a_batch_have_their_own(self, alice: Caller, charlie: Caller, store: Store) -> None:
        ours, theirs = alice.create_inbox(), charlie.create_inbox()
        contents = [a_large_one(str(number)) for number in range(3)]
        mails = [delivery(contents[0], ours), delivery(mail(), ours), delivery(contents[1], ours, theirs, ours)]
        assert store_inbound_mail([*mails, delivery(contents[2], theirs)]) == [Outcome.STORED] * 4
        card = RawObject.objects.get(size=len(contents[1]), other_inboxes=[theirs.pk])
        assert (card.account_id, card.inbox_id) == (alice.account.pk, ours.pk)
        process_all()
        assert is_whole(charlie, theirs, *contents[1:])
        purge_inbox(ours)
        remove_leaving()
        assert is_whole(charlie, theirs, *contents[1:])
        assert len(store.names()) == 2


class TestKills:
    def test_what_has_no_row_leaves_the_store(
        self, inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(large, "_let_go", lambda cards: None)  # as kill -9: nothing of ours runs after it
        with monkeypatch.context() as patch:
            patch.setattr(receive, "keep", die)
            with pytest.raises(Killed):
                store_inbound_mail([delivery(a_large_one(), inbox)])
        store.faults.after_save = staticmethod(die)
        with pytest.raises(Killed):
            store_inbound_mail([delivery(a_large_one(), inbox)])
        assert (len(store.names()), states(), InboundMail.objects.count()) == (2, ["moving"] * 2, 0)
        assert remove_leaving() == 0  # for all that others know, it is still at work
        leases_run_out()
        assert remove_leaving() == 2
        assert (store.names(), states()) == ([], [])

    def test_one_that_was_stopped_past_its_lease_promises_nothing(self, inbox: Inbox, store: Store) -> None:
        def meanwhile(name: str) -> None:
            store.faults.mend()
            leases_run_out()
            assert remove_leaving() == 1  # before the object is there

        store.faults.before_save = staticmethod(meanwhile)
        with pytest.raises(StorageError, match="given up"):
            store_inbound_mail([delivery(a_large_one(), inbox)])
        assert (len(store.names()), InboundMail.objects.count()) == (1, 0)
        assert remove_leaving() == 1
        assert (store.names(), states()) == ([], [])


class TestErasure:
    def test_a_purge_takes_what_is_still_to_be_read(self, inbox: Inbox, store: Store) -> None:
        take(a_large_one(), inbox)
        purge_inbox(inbox)
        remove_leaving()
        assert (store.names(), states(), InboundMail.objects.count()) == ([], [], 0)

    def test_what_came_in_beside_a_purge_goes_when_it_is_read(self, inbox: Inbox, store: Store) -> None:
        take(a_large_one(), inbox)
        Inbox.objects.update(status=Inbox.Status.DELETED, purged_at=timezone.now())
        process_all()
        remove_leaving()
        assert (store.names(), InboundMail.objects.get().state) == ([], "rejected")


class TestRetention:
    def test_it_takes_nothing_that_is_still_to_be_read(
        self, alice: Caller, inbox: Inbox, store: Store, settings: Any
    ) -> None:
        settings.RAW_RETENTION_DAYS = settings.INBOUND_RETENTION_DAYS = 1
        content = a_large_one()
        take(content, inbox)
        long_ago = timezone.now() - timedelta(days=10)
        old = "inmail_00000000000000000000000001"
        InboundMail.objects.update(id=old, received_at=long_ago, dedupe_key="old")
        RawObject.objects.update(mail_id=old, mail_at=long_ago)
        assert remove_old_raw() + remove_finished_rows() == 0
        process_all()
        assert is_whole(alice, inbox, content)
        assert remove_old_raw() == 1
        assert raw(alice, alice.messages(inbox)[0]).status_code == 410

    def test_figures_count_it_where_it_is(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        content = a_large_one()
        take(content, inbox)
        count_storage(now=True)
        figures = StorageFigures.objects.get(pk=alice.account.pk)
        assert (figures.raw_in_rows, figures.raw_in_store_octets) == (0, len(content))
