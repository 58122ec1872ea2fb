"""A provider that is a smart host: what it is handed, and what becomes of a mail by what it answers and where the line is cut."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from delivery.esps import smtp
from delivery.models import OutboundMail
from inboxes.models import Inbox, OnUnknown
from mailbot.lib.addresses import canonical
from tests.cast import Caller, run_workers
from tests.fake_esp.smtp import FakeSmartHost, fake_smart_host

pytestmark = pytest.mark.one_profile
PATIENCE = 10  # seconds for a host that answers
SHORT = 2  # seconds for one that does not


@pytest.fixture
def host(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSmartHost]:
    settings.FETCH_ALLOW = ["127.0.0.0/8"]
    monkeypatch.setattr(smtp, "TIMEOUT", PATIENCE)
    with fake_smart_host() as host:
        yield host


@pytest.fixture
def live(alice: Caller, host: FakeSmartHost) -> Caller:
    live = alice.with_key(mode="live")
    credentials = {"host": "127.0.0.1", "port": str(host.port), "security": "none"}
    body = {"name": "Ours", "esp": "smtp", "is_default": True, "credentials": credentials}
    assert live.post("/v1/providers", body).status_code == 201
    return live


@pytest.fixture
def inbox(live: Caller) -> Inbox:
    return live.create_inbox()


def statuses(caller: Caller, inbox: Inbox, sent: dict[str, Any]) -> list[str]:
    """Of the message, and of each recipient."""
    shown = caller.get(f"/v1/inboxes/{inbox.pk}/messages/{sent['id']}").json()["data"]
    return [shown["status"], *(recipient["status"] for recipient in shown["recipients"])]


def try_again() -> None:
    OutboundMail.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    run_workers()


def test_it_is_handed_the_octets_and_the_envelope(live: Caller, inbox: Inbox, host: FakeSmartHost) -> None:
    sent = live.send(inbox, to="ann@example.com", bcc="ben@example.com", subject="ü", body_text=".\n..\nline")
    run_workers()
    (taken,) = host.taken
    assert taken["content"] == live.get(f"/v1/inboxes/{inbox.pk}/messages/{sent['id']}/raw").content
    assert (canonical(taken["sender"]).address, taken["to"]) == (inbox.address, ["ann@example.com", "ben@example.com"])


@pytest.mark.parametrize(
    ("step", "status", "is_taken"),
    [
        ("451", "deferred", False),
        ("421", "deferred", False),
        ("550", "failed", False),
        ("drip=10", "sent", True),
        ("hang", "unknown", True),
        ("cut", "unknown", True),
        ("lost", "unknown", False),
        ("garbage", "unknown", True),
    ],
)
def test_it_reads_the_answer_to_the_mail(
    live: Caller,
    inbox: Inbox,
    host: FakeSmartHost,
    step: str,
    status: str,
    is_taken: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if step == "hang":
        monkeypatch.setattr(smtp, "TIMEOUT", SHORT)
    sent = live.send(inbox, to="ann@example.com", subject=f"Order [{step}]")
    run_workers()
    assert statuses(live, inbox, sent) == [status, status]
    assert [entry["taken"] for entry in host.ledger] == [is_taken]  # no library tried again by itself


@pytest.mark.parametrize(
    ("codes", "found"), [(["550"], ["bounced", "sent", "bounced"]), (["451"], ["bounced", "sent", "bounced"])]
)
def test_who_is_refused_has_no_second_try_where_others_were_taken(
    live: Caller, inbox: Inbox, host: FakeSmartHost, codes: list[str], found: list[str]
) -> None:
    sent = live.send(inbox, to=["ann@example.com", *(f"{code}@example.com" for code in codes)])
    run_workers()
    assert statuses(live, inbox, sent) == found
    assert [entry["to"] for entry in host.taken] == [["ann@example.com"]]


@pytest.mark.parametrize(("code", "status"), [("450", "deferred"), ("550", "failed")])
def test_a_mail_that_all_recipients_are_refused_of_is_not_sent(
    live: Caller, inbox: Inbox, host: FakeSmartHost, code: str, status: str
) -> None:
    sent = live.send(inbox, to=f"{code}@example.com")
    run_workers()
    assert (statuses(live, inbox, sent), host.ledger) == ([status, status], [])


def test_it_tries_again_and_is_taken_once(live: Caller, inbox: Inbox, host: FakeSmartHost) -> None:
    sent = live.send(inbox, to="ann@example.com", subject="Order [451, 421, ok]")
    run_workers()
    for _ in range(3):
        try_again()
    assert statuses(live, inbox, sent) == ["sent", "sent"]
    assert [entry["step"] for entry in host.ledger] == ["451", "421", "ok"]


@pytest.mark.parametrize("greeting", ["421 too busy", "554 not you", "what was not promised"])
def test_a_host_that_does_not_let_us_in_has_nothing(
    live: Caller, inbox: Inbox, host: FakeSmartHost, greeting: str
) -> None:
    host.greeting = greeting
    sent = live.send(inbox, to="ann@example.com")
    run_workers()
    assert statuses(live, inbox, sent) == ["deferred", "deferred"]
    host.greeting = "220 here"
    try_again()
    assert (statuses(live, inbox, sent), len(host.taken)) == (["sent", "sent"], 1)


def test_what_may_have_been_taken_is_never_sent_blindly(live: Caller, inbox: Inbox, host: FakeSmartHost) -> None:
    sent = live.send(inbox, to="ann@example.com", subject="Order [cut]")
    run_workers()
    try_again()
    assert (statuses(live, inbox, sent), len(host.ledger)) == (["unknown", "unknown"], 1)
    assert live.account.on_unknown == OnUnknown.AT_MOST_ONCE
