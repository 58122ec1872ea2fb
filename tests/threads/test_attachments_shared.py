"""A file that messages of several inboxes share stays as long as one of them needs it, whoever removes the others, and whenever."""

import threading
from collections.abc import Callable

import pytest
from django.db import connections

from mailbot.lib.scope import act_for_everybody_outside_of_requests
from tests.cast import Caller
from tests.mailing import deliver, mail
from tests.stores import Store
from threads.attachments import kept

pytestmark = pytest.mark.django_db(transaction=True)

CONTENT = b"the same invoice"
MAIL = mail(attachments={"invoice.pdf": CONTENT})


def beside(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        act_for_everybody_outside_of_requests()
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_it_stays_when_a_key_that_sees_no_other_inbox_purges_one(alice: Caller, store: Store) -> None:
    first, second = alice.create_inbox(), alice.create_inbox()
    deliver(MAIL, first)
    deliver(MAIL, second)
    assert alice.with_key(inbox=first).delete(f"/v1/inboxes/{first.pk}?purge=true").status_code == 200
    assert store.contents("attachments") == [CONTENT]
    assert alice.delete(f"/v1/inboxes/{second.pk}?purge=true").status_code == 200
    assert store.contents("attachments") == []


def test_it_stays_for_mail_that_is_filed_while_the_last_other_one_is_purged(alice: Caller, store: Store) -> None:
    """Whoever files has seen that the file is there, and nobody else sees his row yet."""
    first, second = alice.create_inbox(), alice.create_inbox()
    deliver(MAIL, first)
    purges: list[threading.Thread] = []

    def purge(name: str) -> None:
        if not purges:
            purges.append(beside(lambda: alice.delete(f"/v1/inboxes/{first.pk}?purge=true")))
            purges[0].join(0.5)  # where it need not wait for us it is over by then

    store.faults.after_look = staticmethod(purge)
    deliver(MAIL, second)
    purges[0].join()
    assert alice.get(f"/v1/inboxes/{first.pk}").json()["data"]["status"] == "deleted"
    assert store.contents("attachments") == [CONTENT]
    (message,) = alice.messages(second)
    path = f"/v1/inboxes/{second.pk}/messages/{message['id']}"
    (attachment,) = alice.get(path).json()["data"]["attachments"]
    assert alice.get(f"{path}/attachments/{attachment['id']}").content == CONTENT


def test_one_that_the_store_does_not_delete_keeps_no_other(alice: Caller, store: Store) -> None:
    inbox = alice.create_inbox()
    deliver(mail(attachments={f"{number}.bin": bytes([number]) for number in range(5)}), inbox)
    stuck = store.names("attachments")[1]

    def refuse(name: str) -> None:
        if name == stuck:
            raise ConnectionError("Connection reset by peer")

    store.faults.before_delete = staticmethod(refuse)
    assert alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true").status_code == 200
    assert store.names("attachments") == [stuck]


def test_it_is_whole_when_two_keep_it_at_once(store: Store) -> None:
    """Both have looked, and neither saw it, before the first one writes."""
    both = threading.Barrier(2, timeout=10)
    store.faults.before_save = staticmethod(lambda name: both.wait())

    def keep() -> None:
        with kept([("account_1", CONTENT)]):
            pass

    threads = [beside(keep) for _ in range(2)]
    for thread in threads:
        thread.join()
    assert store.contents("attachments") == [CONTENT]
    assert len(store.faults.saves) == 2
