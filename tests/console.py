"""People in the console, and rows for them to look at."""

from datetime import timedelta
from typing import Any

from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from delivery.claims import claim
from delivery.models import InboundMail, OutboundMail, ProviderEvent
from delivery.outbound.outcomes import Outcome, Result
from delivery.outbound.send import send_due_mail, settle
from delivery.outbound.states import State
from inboxes.models import Account, Inbox, Membership, Provider
from tests.cast import Caller
from tests.mailing import deliver, mail, store

PASSWORD = "correct horse battery"
HOSTILE = "<script>alert(1)</script> \u202e\u2067evil\u202d " + "A" * 10_000


def person(name: str, account: Account | None = None, role: str = Membership.Role.OPERATOR) -> Any:
    """A member of `account`; without one, a superuser."""
    user = get_user_model().objects.create_user(name, password=PASSWORD, is_staff=True, is_superuser=account is None)
    if account:
        Membership.objects.create(account=account, user=user, role=role)
    return user


def console(user: Any) -> Client:
    """A browser in which the user is signed in."""
    client = Client()
    client.force_login(user)
    return client


def list_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_changelist")


def page_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote(row.pk)])


def act(client: Client, action: str, *rows: Any, **answers: Any) -> Any:
    """Press a button; with `reason` (or `confirmed`), answer the question that it leads to."""
    body = {"action": action, "_selected_action": [row.pk for row in rows], **answers}
    return client.post(list_of(rows[0]), body | ({"confirmed": "yes"} if answers else {}))


def unknown_mail(caller: Caller, inbox: Inbox) -> OutboundMail:
    """A mail of which nobody knows whether the provider has it."""
    message = caller.send(inbox, subject="Your invoice", body_text="Please pay.")
    queued = OutboundMail.objects.get(message_id=message["id"])
    mail = claim(OutboundMail.objects.due(), queued.pk, state=State.SENDING, lease=timedelta(minutes=1))
    assert mail is not None
    settle(mail, Outcome(Result.UNKNOWN, "The connection broke."), "smart host", timezone.now())
    return OutboundMail.objects.get(pk=queued.pk)


def failed_inbound(inbox: Inbox, subject: str = "Poison", **headers: str) -> InboundMail:
    store(mail(Subject=subject, **headers), inbox)
    newest = InboundMail.objects.order_by("-pk")
    newest.filter(pk=newest[0].pk).update(state="failed", attempts=4, error="ValueError: it cannot be read")
    return newest[0]


def failed_event(provider: Provider, **columns: Any) -> ProviderEvent:
    """What an ESP told, and what could not be worked on."""
    told = {"kind": "tracking", "type": "bounced", "recipient": "ann@example.com", "payload": {"RecordType": "Bounce"}}
    ended = {"state": "failed", "attempts": 7, "error": "It broke.", "processed_at": timezone.now()}
    named = {"key": f"event {ProviderEvent.objects.count()}"}
    return ProviderEvent.objects.create(provider=provider, **{**named, **told, **ended, **columns})


def fill(caller: Caller, inbox: Inbox, number: int) -> None:
    """`number` more rows of every kind."""
    for position in range(number):
        deliver(mail(Subject=f"Question {position}", attachments={"a.bin": b"12"}), inbox)
        caller.send(inbox, to=["one@example.com", "two@example.com"], subject=f"Answer {position}")
        failed_inbound(inbox)
        caller.create_inbox(display_name=f"Number {position}")
        caller.with_key(inbox=inbox)
    send_due_mail()


def make_late(*mails: InboundMail | OutboundMail) -> None:
    for one in mails:
        before = timezone.now() - timedelta(minutes=5)
        moments = {"received_at": before} if isinstance(one, InboundMail) else {"next_attempt_at": before}
        type(one).objects.filter(pk=one.pk).update(**moments)


def queries_for(client: Client, url: str, **query: Any) -> int:
    """How many queries a page takes."""
    with CaptureQueriesContext(connection) as context:
        assert client.get(url, query).status_code == 200
    return len(context.captured_queries)
