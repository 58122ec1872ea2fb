"""Whom the trail names for what follows from an ESP's call: the provider, as it was called then."""

from typing import Any

import pytest

from delivery.models import OutboundMail, ProviderEvent
from delivery.suppression_model import Suppression
from inboxes.models import Inbox, Provider
from tests.cast import Caller, run_workers
from tests.delivery.hooks.cases import HookCases
from tests.fake_esp.credentials import credentials_for
from tests.fake_esp.server import FakeEsp


class Postmark(HookCases):
    esp = "postmark"


def add_provider(caller: Caller, fake: FakeEsp, name: str) -> dict[str, Any]:
    body = {"name": name, "esp": "postmark", "is_default": True, "credentials": credentials_for("postmark", fake.url)}
    answer = caller.post("/v1/providers", body)
    assert answer.status_code == 201, answer.content
    return dict(answer.json()["data"])


@pytest.fixture
def postmark(live: Caller, fake: FakeEsp) -> Postmark:
    helper = Postmark()
    helper.urls = add_provider(live, fake, "Mine")["webhooks"]
    return helper


def entries(caller: Caller, action: str) -> list[dict[str, Any]]:
    return list(caller.get("/v1/audit-log", action=action).json()["data"])


def told(postmark: Postmark, live: Caller, inbox: Inbox, name: str) -> dict[str, Any]:
    sent = live.send(inbox, to="ann@example.com", subject="Hello")
    run_workers()
    assert postmark.tell(name).status_code == 200
    run_workers()
    return sent


@pytest.mark.parametrize("name", ["bounced", "complained"])
def test_a_suppression_is_the_providers(live: Caller, inbox: Inbox, postmark: Postmark, name: str) -> None:
    told(postmark, live, inbox, name)
    provider = Provider.objects.get()
    (entry,) = entries(live, "suppression.added")
    named = {"kind": "provider", "id": provider.pk, "name": "Mine"}
    assert entry["actor"] == named
    assert live.get("/v1/suppressions").json()["data"][0]["created_by"] == named


def test_what_nobody_knew_is_settled_by_the_provider(live: Caller, inbox: Inbox, postmark: Postmark) -> None:
    live.send(inbox, to="ann@example.com", subject="[cut]")
    run_workers()
    postmark.tell("delivered")
    run_workers()
    assert OutboundMail.objects.get().state == "sent"
    (entry,) = entries(live, "message.settled")
    assert (entry["actor"]["kind"], entry["actor"]["name"]) == ("provider", "Mine")


def test_it_keeps_the_name_that_it_had(live: Caller, inbox: Inbox, postmark: Postmark) -> None:
    told(postmark, live, inbox, "bounced")
    provider = Provider.objects.get()
    assert live.patch(f"/v1/providers/{provider.pk}", {"name": "Renamed"}).status_code == 200
    assert live.delete(f"/v1/providers/{provider.pk}").status_code == 200
    (entry,) = entries(live, "suppression.added")
    assert entry["actor"] == {"kind": "provider", "id": provider.pk, "name": "Mine"}


def test_news_of_several_in_one_batch_name_each_their_own(
    live: Caller, inbox: Inbox, charlie: Caller, fake: FakeEsp
) -> None:
    """They are processed together, in a fixed number of queries."""
    theirs = charlie.with_key(mode="live")
    for caller, box in ((live, inbox), (theirs, theirs.create_inbox())):
        add_provider(caller, fake, f"Of {caller.account.pk}")
        caller.send(box, to="ann@example.com", subject="Hello")
    run_workers()
    for mail in OutboundMail.objects.all():
        ProviderEvent.objects.create(
            provider_id=mail.carrier_id,
            kind="tracking",
            key=mail.pk,
            type="complained",
            told_mail_id=mail.pk,
            recipient="ann@example.com",
        )
    run_workers()
    assert Suppression.objects.count() == 2
    for caller in (live, theirs):
        (entry,) = entries(caller, "suppression.added")
        assert entry["actor"]["name"] == f"Of {caller.account.pk}"


def test_what_the_server_does_itself_is_its_own(alice: Caller) -> None:
    inbox = alice.create_inbox()
    alice.send(inbox, to="ann@example.com", subject="Hello")
    run_workers()
    (entry,) = entries(alice, "message.sent")
    assert entry["actor"]["kind"] == "system"
