"""Files of messages: one object for each content of an account, by whichever way it comes."""

import base64
from typing import Any

import pytest

from delivery.inbound.process import process_inbound
from delivery.outbound.send import send_due_mail
from inboxes.models import Inbox
from mailbot.lib.object_store import StoreUnavailable
from tests.cast import Caller
from tests.mailing import deliver, mail
from tests.mailing import store as take
from tests.stores import Store
from threads.models import Attachment

CONTENT = b"the same invoice"
FILE = {"filename": "invoice.pdf", "content_type": "application/pdf", "content": base64.b64encode(CONTENT).decode()}


@pytest.fixture
def inbox(alice: Caller, store: Store) -> Inbox:
    return alice.create_inbox()


def receive(inbox: Inbox, name: str = "a.bin") -> None:
    deliver(mail(attachments={name: CONTENT}), inbox)


class TestDeduplication:
    def test_it_keeps_a_content_once_by_whichever_way_it_comes(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        receive(inbox)
        receive(inbox, "b.bin")
        alice.send(inbox, attachments=[FILE])
        (first, *_) = [message for message in alice.messages(inbox) if message["direction"] == "inbound"]
        path = f"/v1/inboxes/{inbox.pk}/messages/{first['id']}"
        assert alice.post(f"{path}/reply", {"body_text": "See", "attachments": [FILE]}).status_code == 202
        assert alice.post(f"{path}/forward", {"to": "boss@example.com"}).status_code == 202
        send_due_mail()
        assert Attachment.objects.count() == 5
        assert store.contents("attachments") == [CONTENT]
        assert len(store.faults.saves) == 1

    def test_it_does_so_for_two_inboxes_of_an_account(self, alice: Caller, bob: Caller, store: Store) -> None:
        receive(alice.create_inbox())
        receive(bob.create_inbox())
        assert len(store.names("attachments")) == 1

    def test_it_shares_nothing_between_accounts(self, alice: Caller, charlie: Caller, store: Store) -> None:
        receive(alice.create_inbox())
        receive(charlie.create_inbox())
        assert len(store.names("attachments")) == 2

    def test_it_survives_the_purge_of_one_of_two_inboxes(
        self, alice: Caller, store: Store, django_capture_on_commit_callbacks: Any
    ) -> None:
        first, second = alice.create_inbox(), alice.create_inbox()
        receive(first)
        receive(second)
        for inbox, left in ((first, 1), (second, 0)):
            with django_capture_on_commit_callbacks(execute=True):
                assert alice.delete(f"/v1/inboxes/{inbox.pk}?purge=true").status_code == 200
            assert len(store.names("attachments")) == left


class TestOutage:
    def test_it_says_that_the_store_cannot_be_reached(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        receive(inbox)
        (message,) = alice.messages(inbox)
        attachment = Attachment.objects.get()
        store.faults.is_down = True
        answer = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/attachments/{attachment.pk}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"]
        body = {"to": "customer@example.com", "attachments": [FILE]}
        assert alice.post(f"/v1/inboxes/{inbox.pk}/messages", body).status_code == 503

    def test_it_says_when_a_file_is_gone(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        receive(inbox)
        (message,) = alice.messages(inbox)
        attachment = Attachment.objects.get()
        (store.folder / attachment.storage_name).unlink()
        answer = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/attachments/{attachment.pk}")
        assert answer.status_code == 410

    def test_it_blames_no_mail(self, alice: Caller, inbox: Inbox, store: Store) -> None:
        """However long the store is away, and however often the worker tries."""
        store.faults.is_down = True
        take(mail(attachments={"a.bin": CONTENT}), inbox)
        for _ in range(6):
            with pytest.raises(StoreUnavailable):
                process_inbound()
        store.faults.is_down = False
        assert process_inbound() == 1
        assert len(alice.messages(inbox)) == 1
