"""What an erasure leaves of threads and events in which others take part"""

import pytest

from inboxes.models import Inbox
from tests.cast import Caller
from tests.delivery.erasing.traces import erase
from tests.mailing import deliver, mail
from tests.stores import Store
from threads.models import Event, Thread

CAROL = "carol@shop.example"


@pytest.fixture
def owner(alice: Caller, store: Store) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(owner: Caller) -> Inbox:
    """Carol began, Dave answered, to the inbox alone."""
    inbox = owner.create_inbox()
    first = mail(From=CAROL, Cc="dave@other.example", Subject="Carol's secret", Message_ID="<1@shop.example>")
    deliver(first, inbox, envelope_sender=CAROL)
    reply = mail(From="dave@other.example", Subject="Re: a question", In_Reply_To="<1@shop.example>", body="Mine\n")
    deliver(reply, inbox, envelope_sender="dave@other.example")
    return inbox


def test_a_thread_is_told_of_by_who_is_left(owner: Caller, inbox: Inbox) -> None:
    erase(owner, CAROL)
    (thread,) = owner.get(f"/v1/inboxes/{inbox.pk}/threads").json()["data"]
    assert thread["subject"] == "Re: a question"
    assert (thread["preview"], thread["message_count"]) == ("Mine", 2)
    assert CAROL not in str(Thread.objects.values().get())
    assert "dave@other.example" in thread["participants"]
    assert [message["subject"] for message in owner.messages(inbox)] == ["Re: a question", ""]


def test_events_stay_without_words(owner: Caller, inbox: Inbox) -> None:
    before = list(Event.objects.order_by("pk").values_list("pk", "type"))
    person = erase(owner, CAROL)["person"]
    assert list(Event.objects.order_by("pk").values_list("pk", "type"))[: len(before)] == before
    first, second = Event.objects.filter(type="message.received").order_by("pk")
    assert first.data == {"from": person}
    assert second.data == {"from": "dave@other.example", "subject": "Re: a question"}


def test_an_answer_to_it_gets_into_no_thread_of_hers(owner: Caller, inbox: Inbox) -> None:
    erase(owner, CAROL)
    deliver(mail(From="eve@other.example", Subject="Late", In_Reply_To="<1@shop.example>"), inbox)
    assert owner.messages(inbox)[0]["subject"] == "Late"
    assert Thread.objects.count() == 2


def test_files_that_others_sent_too_are_kept(owner: Caller, inbox: Inbox, store: Store) -> None:
    for sender in (CAROL, "dave@other.example"):
        deliver(mail(From=sender, Subject=sender, attachments={"a.txt": b"the same"}), inbox, envelope_sender=sender)
    erase(owner, CAROL)
    message = next(one for one in owner.messages(inbox) if one["subject"] == "dave@other.example")
    (file,) = message["attachments"]
    path = f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/attachments/{file['id']}"
    assert b"".join(owner.get(path)) == b"the same"
