"""A large mail takes long to store and to read: others go by it."""

import threading
from typing import Any

import pytest

from delivery.inbound import lanes, process
from delivery.inbound.lanes import lane_of
from delivery.inbound.process import process_inbound
from delivery.inbound.receive import LARGE, store_inbound_mail
from tests.cast import Caller
from tests.delivery.inbound.conftest import PATIENCE
from tests.mailing import mail, store
from threads.reading import read_mail

LINE = b"as long as lines of a mail mostly are, and many of them\r\n"
TEXT = b"Subject: large\r\n\r\n" + LINE * (LARGE // len(LINE) + 1)


def test_it_takes_other_mail_while_a_large_one_is_stored(start_smtp: Any, inbox: Any) -> None:
    is_stored, go_on = threading.Event(), threading.Event()

    def slow(mails: Any) -> Any:
        if any(len(mail.raw) > LARGE for mail in mails):
            is_stored.set()
            assert go_on.wait(PATIENCE)
        return store_inbound_mail(mails)

    server = start_smtp(store=slow, max_size=2 * LARGE)
    large, other = server.client(), server.client()
    large.begin(inbox.address)
    large.send(TEXT + b".\r\n")
    assert is_stored.wait(PATIENCE)
    assert other.deliver(inbox.address, b"Subject: small\r\n\r\nhello\r\n").startswith("250")
    go_on.set()
    assert large.reply().startswith("250")


def test_it_gives_a_large_mail_the_time_that_its_commit_takes(start_smtp: Any, inbox: Any) -> None:
    go_on = threading.Event()

    def slow(mails: Any) -> Any:
        assert go_on.wait(PATIENCE)
        return store_inbound_mail(mails)

    server = start_smtp(store=slow, max_size=2 * LARGE, database_timeout=2)
    large, small = server.client(), server.client()
    large.begin(inbox.address)
    large.send(TEXT + b".\r\n")
    assert small.deliver(inbox.address, b"Subject: small\r\n\r\nhello\r\n").startswith("451")
    go_on.set()  # by now a small one has waited its time, and has its 451
    assert large.reply().startswith("250")


class TestFiling:
    def test_it_leaves_other_inboxes_to_other_workers_while_a_large_one_is_read(
        self, alice: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inbox = alice.create_inbox()
        other = next(box for box in iter(alice.create_inbox, None) if lane_of(box.pk) != lane_of(inbox.pk))
        seen_meanwhile: list[Any] = []

        def read(raw: bytes) -> Any:
            if len(raw) > LARGE:
                process_inbound()
                seen_meanwhile.extend(alice.messages(other))
            return read_mail(raw)

        monkeypatch.setattr(process, "read_mail", read)
        store(TEXT, inbox)
        store(mail(Subject="small"), other)
        assert process_inbound() == 1
        assert [message["subject"] for message in seen_meanwhile] == ["small"]
        assert [message["subject"] for message in alice.messages(inbox)] == ["large"]

    def test_it_files_what_came_before_first(self, alice: Caller) -> None:
        inbox = alice.create_inbox()
        store(mail(Subject="small"), inbox)
        store(TEXT, inbox)
        assert [process_inbound(), process_inbound()] == [1, 1]
        assert [message["subject"] for message in alice.messages(inbox)] == ["large", "small"]

    def test_it_lets_every_lane_have_its_turn(self, alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lanes, "LANES_AT_ONCE", 1)
        inboxes = [alice.create_inbox() for _ in range(3)]
        for inbox in inboxes:
            store(mail(), inbox)
        for _ in inboxes:  # and more comes in meanwhile, for the first of them above all
            process_inbound()
            store(mail(), inboxes[0])
        assert all(alice.messages(inbox) for inbox in inboxes)
