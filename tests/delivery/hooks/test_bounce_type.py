"""Which news of bounces suppress: hard ones, of whom the mail went to."""

import json
from typing import Any

import pytest

from delivery.models import OutboundMail, Suppression
from inboxes.models import Inbox
from tests.cast import Caller, run_workers


@pytest.fixture
def live(alice: Caller, settings: Any) -> Caller:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(live: Caller) -> Inbox:
    return live.create_inbox()


class Postmark:
    """A provider that tells of bounces."""

    def __init__(self, caller: Caller) -> None:
        body = {"name": "Postmark", "esp": "postmark", "credentials": {"server_token": "secret"}}
        self.caller = caller
        self.url = caller.post("/v1/providers", body).json()["data"]["webhooks"]["tracking"]

    def tell(self, mail_id: str, **payload: Any) -> None:
        told = {"RecordType": "Bounce", "MessageID": "x", "Metadata": {"mailbot_id": mail_id}, "ID": 1, **payload}
        path = "/hooks/" + self.url.partition("/hooks/")[2]
        answer = self.caller.client.post(path, json.dumps(told), content_type="application/json")
        assert answer.status_code == 200, answer.content
        run_workers()


def sent(caller: Caller, inbox: Inbox, **body: Any) -> str:

    message = caller.send(inbox, **body)
    run_workers()
    return OutboundMail.objects.get(message_id=message["id"]).pk


@pytest.mark.parametrize(
    ("kind", "details", "suppressed"),
    [
        ("HardBounce", "550 5.1.1 no such user", True),
        ("HardBounce", "550 5.7.1 rejected as spam", False),
        ("SoftBounce", "552 5.2.2 mailbox full", False),
        ("SoftBounce", "", False),
        ("DnsError", "", False),
        ("Blocked", "", False),
    ],
)
def test_a_bounce_suppresses_when_it_is_hard(
    live: Caller, inbox: Inbox, kind: str, details: str, suppressed: bool
) -> None:
    mail_id = sent(live, inbox, to="ann@shop.example")
    Postmark(live).tell(mail_id, Type=kind, Details=details, Email="ann@shop.example")
    assert Suppression.objects.filter(inbox=inbox, address="ann@shop.example", mode="live").exists() is suppressed


def test_a_complaint_and_an_unsubscription_suppress_too(live: Caller, inbox: Inbox) -> None:
    mail_id, postmark = sent(live, inbox, to=["ann@shop.example", "ben@shop.example"]), Postmark(live)
    postmark.tell(mail_id, RecordType="SpamComplaint", Type="SpamComplaint", Email="ann@shop.example")
    postmark.tell(
        mail_id, RecordType="SubscriptionChange", Recipient="ben@shop.example", SuppressSending=True, Origin="Recipient"
    )
    found = dict(Suppression.objects.values_list("address", "cause"))
    assert found == {"ann@shop.example": "complaint", "ben@shop.example": "unsubscribe"}


def test_news_of_somebody_else_say_nothing(live: Caller, inbox: Inbox) -> None:
    mail_id = sent(live, inbox, to=["ann@shop.example", "ben@shop.example"])
    Postmark(live).tell(mail_id, Type="HardBounce", Details="550 5.1.1", Email="victim@shop.example")
    assert not Suppression.objects.exists()
