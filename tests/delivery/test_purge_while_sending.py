"""A purge waits for whoever is just writing down what became of a mail; neither is sent away because of the other."""

import threading

import pytest
from django.db import connection, connections, transaction

from delivery.models import OutboundMail, Recipient
from inboxes.models import Inbox
from tests.cast import Caller
from tests.waiting import until_somebody_waits

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
]


def settle_slowly(mail: OutboundMail, begun: threading.Event, done: list[str]) -> None:
    """As delivery.outbound.send.settle: the mail, then its inbox and its recipients. In between, until somebody waits for it."""
    try:
        with transaction.atomic():
            OutboundMail.objects.filter(pk=mail.pk).update(error="settled")
            begun.set()
            until_somebody_waits()
            Inbox.objects.select_for_update(no_key=True).get(pk=mail.inbox_id)
            Recipient.objects.filter(mail=mail).update(reason="settled")
        done.append("settled")
    finally:
        connections.close_all()


def test_a_purge_and_the_outcome_of_a_mail_do_not_wait_for_each_other(alice: Caller) -> None:
    inbox: Inbox = alice.create_inbox()
    alice.send(inbox, to="ann@example.com")
    mail, begun, done = OutboundMail.objects.get(), threading.Event(), list[str]()
    worker = threading.Thread(target=settle_slowly, args=(mail, begun, done))
    worker.start()
    assert begun.wait(30)
    answer = alice.client.delete(f"/v1/inboxes/{inbox.pk}?purge=true")
    worker.join()
    assert answer.status_code == 200
    assert done == ["settled"]
    assert not OutboundMail.objects.exists()
