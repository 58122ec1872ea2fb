"""Suppressions of an erased person: no address and nothing to try it out by, and still nobody writes there"""

import hashlib
from io import StringIO
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command

from delivery.models import LoopCount, Suppression
from delivery.outbound.send import send_due_mail
from delivery.suppression import Target, Wanted, suppress
from delivery.suppression_model import digest_of
from inboxes.models import Inbox
from tests.cast import Caller
from tests.delivery.erasing.traces import erase
from tests.stores import Store

PATH = "/v1/suppressions"
CAROL = "carol@shop.example"


@pytest.fixture
def owner(alice: Caller, store: Store) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def inbox(owner: Caller) -> Inbox:
    inbox = owner.create_inbox()
    for body in ({}, {"inbox_id": inbox.pk}, {"domain": inbox.domain}):
        assert owner.post(PATH, {"address": CAROL, "reason": f"{CAROL} asked", **body}).status_code == 201
    return inbox


def is_refused(owner: Caller, inbox: Inbox) -> bool:
    answer = owner.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "CAROL@shop.example", "subject": "x"})
    return bool(answer.status_code == 422)


@pytest.mark.parametrize("scope", ["inbox", "domain", "account"])
def test_one_scope_alone_stops_it(owner: Caller, inbox: Inbox, scope: str) -> None:
    erase(owner, CAROL)
    entries = list(Suppression.objects.all())
    Suppression.objects.exclude(pk__in=[entry.pk for entry in entries if entry.scope == scope]).delete()
    assert Suppression.objects.count() == 1
    assert is_refused(owner, inbox)


def test_nobody_without_the_key_can_try_addresses(owner: Caller, inbox: Inbox) -> None:
    erase(owner, CAROL)
    kept = {entry.digest for entry in Suppression.objects.all()}
    tried = {
        digest_of(owner.account.pk, "live", CAROL),
        digest_of(owner.account.pk, "live", CAROL, inbox_id=inbox.pk),
        digest_of(owner.account.pk, "live", CAROL, domain=inbox.domain),
    }
    tried |= {hashlib.sha256(digest.encode()).hexdigest() for digest in tried}
    assert not kept & tried


def test_what_is_learnt_later_names_nobody(owner: Caller, inbox: Inbox) -> None:
    erase(owner, CAROL)
    wanted = Wanted(CAROL, "complaint", reason=f"<{CAROL}> complained")
    entry, is_new = suppress(Target.of_inbox(inbox), wanted)
    assert (entry.address, entry.reason, entry.cause, is_new) == ("", "", "complaint", False)
    assert Suppression.objects.count() == 3
    assert owner.post(PATH, {"address": CAROL}).json()["data"]["address"] == ""


def test_it_is_lifted_by_its_address_and_by_its_id(owner: Caller, inbox: Inbox) -> None:
    erase(owner, CAROL)
    gone = owner.client.delete(f"{PATH}?address={CAROL}").json()["data"]
    assert (gone["scope"], gone["address"]) == ("account", "")
    for entry in owner.get(PATH).json()["data"]:
        assert owner.delete(f"{PATH}/{entry['id']}").status_code == 200
    assert not is_refused(owner, inbox)


def test_an_export_says_so_and_no_import_takes_it(owner: Caller, inbox: Inbox) -> None:
    person = erase(owner, CAROL)["person"]
    content = owner.get(f"{PATH}/export").content.decode()
    assert content.count(f"erased person ({person})") == 3
    told = owner.post(f"{PATH}/import", {"content": content, "format": "csv"}).json()["data"]
    assert (told["added"], told["invalid"]) == (0, 3)
    assert "erased" in told["refused"][0]["error"]


def test_it_holds_behind_a_new_key_and_is_told_of_without_its_own(owner: Caller, inbox: Inbox, settings: Any) -> None:
    erase(owner, CAROL)
    settings.ENCRYPTION_KEYS = ["a new one", *settings.ENCRYPTION_KEYS]
    assert is_refused(owner, inbox)
    err = StringIO()
    call_command("rotate_credentials", stdout=StringIO(), stderr=err)
    assert "3 suppressions of erased persons" in err.getvalue()
    assert not [one for one in run_checks(databases=["default"]) if one.id == "mailbot.W002"]
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    (warning,) = [one for one in run_checks(databases=["default"]) if one.id == "mailbot.W002"]
    assert "3 suppressions" in warning.msg


def test_a_second_erasure_leaves_one_entry(owner: Caller, inbox: Inbox) -> None:
    first = erase(owner, CAROL)["person"]
    assert erase(owner, CAROL)["person"] == first
    assert Suppression.objects.count() == 3


@pytest.mark.parametrize("send_at", [None, "2099-01-01T00:00:00Z"])
def test_mail_that_waits_is_not_sent(owner: Caller, store: Store, mailoutbox: list[Any], send_at: str | None) -> None:
    inbox = owner.create_inbox()
    later = {"send_at": send_at} if send_at else {}
    owner.send(inbox, to=[CAROL, "dave@other.example"], subject="x", body_text="x", **later)
    assert LoopCount.objects.filter(inbox=inbox).count() == 3
    erase(owner, CAROL)
    send_due_mail()
    assert mailoutbox == []
    assert [message["status"] for message in owner.messages(inbox)] == ["cancelled"]
    assert LoopCount.objects.filter(inbox=inbox).count() == 2  # of the thread, and of Dave
