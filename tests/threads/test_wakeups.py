"""Who is told of news, and when: after the commit, once for a batch, and never of what was rolled back."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from delivery.inbound.process import process_inbound
from tests.cast import Caller
from tests.mailing import mail, store
from threads.models import Message

pytestmark = pytest.mark.django_db(transaction=True)


class Listener:
    """A channel that looks at once: `told` has each publication, and how many of its messages others could see by then."""

    def __init__(self) -> None:
        self.told: list[tuple[list[str], int]] = []

    def publish(self, inbox_ids: Iterable[str]) -> None:
        found = sorted(inbox_ids)
        with ThreadPoolExecutor(1) as pool:  # a thread has a connection of its own
            self.told.append((found, pool.submit(seen_by_others, found).result()))


def seen_by_others(inbox_ids: list[str]) -> int:
    try:
        return Message.objects.filter(inbox__in=inbox_ids).count()
    finally:
        connection.close()


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    listener = Listener()
    monkeypatch.setattr("threads.wakeups.channel", lambda: listener)
    monkeypatch.setattr("mailbot.lib.hints.send", lambda task: None)
    return listener


def test_it_tells_once_of_a_batch_and_only_of_what_is_committed(alice: Caller, listener: Listener) -> None:
    first, second = alice.create_inbox(), alice.create_inbox()
    for inbox in (first, first, second):
        store(mail(), inbox)
    assert process_inbound() == 3
    assert listener.told == [(sorted([first.pk, second.pk]), 3)]


def test_it_tells_nothing_of_what_is_rolled_back(alice: Caller, listener: Listener) -> None:
    store(mail(), alice.create_inbox())
    with transaction.atomic():
        assert process_inbound() == 1
        transaction.set_rollback(True)
    assert listener.told == []
