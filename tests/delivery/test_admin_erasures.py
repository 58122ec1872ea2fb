"""Erasures in the console: first what would go, then the deed; of owners only"""

import json
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.urls import reverse

from audit.models import AuditEntry
from delivery.models import Erasure
from inboxes.holds import place
from inboxes.models import Inbox
from tests.cast import Caller
from tests.console import act, console, list_of, page_of, person
from tests.delivery.erasing.traces import work
from tests.mailing import deliver, mail
from tests.stores import Store
from threads.models import Message

ADD = reverse("admin:delivery_erasure_add")
CAROL = "carol@shop.example"


@pytest.fixture
def inbox(alice: Caller, store: Store) -> Inbox:
    inbox = alice.create_inbox()
    deliver(mail(From=CAROL, Subject="A secret"), inbox)
    return inbox


def asked(browser: Any, caller: Caller, **body: Any) -> Any:
    return browser.post(ADD, {"account": caller.account.pk, "address": CAROL, "reason": "Request 2041", **body})


class TestErasing:
    def test_an_owner_sees_first_what_would_go(self, alice: Caller, inbox: Inbox) -> None:
        page = asked(console(person("olga", alice.account, "owner")), alice)
        text = page.content.decode()
        assert page.status_code == 200
        assert "Erase for good" in text
        assert quote(inbox.pk) in text
        assert not Erasure.objects.exists()
        assert Message.objects.get().subject == "A secret"
        assert AuditEntry.objects.get(act="erasure.previewed").actor_name == "olga"

    def test_who_confirms_it_has_it_done(self, alice: Caller, inbox: Inbox) -> None:
        browser = console(person("olga", alice.account, "owner"))
        assert asked(browser, alice, confirmed="yes").status_code == 302
        erasure = Erasure.objects.get()
        assert 'http-equiv="refresh"' in browser.get(page_of(erasure)).content.decode()
        work()
        page = browser.get(page_of(erasure)).content.decode()
        assert "1 messages" in page
        assert CAROL not in page
        answer = act(browser, "certificate", erasure)
        assert json.loads(answer.content)["erasure"] == erasure.pk
        assert "attachment" in answer["Content-Disposition"]
        assert erasure.person in browser.get(list_of(erasure)).content.decode()

    def test_without_a_reason_nothing_is_shown(self, alice: Caller, inbox: Inbox) -> None:
        assert asked(console(person("olga", alice.account, "owner")), alice, reason="").status_code == 400
        assert not AuditEntry.objects.filter(act="erasure.previewed").exists()

    def test_a_hold_takes_the_button_away_and_refuses(self, alice: Caller, inbox: Inbox) -> None:
        place(alice.account, inbox=inbox, matter="Smith v. Acme", reason="court")
        browser = console(person("olga", alice.account, "owner"))
        page = asked(browser, alice).content.decode()
        assert ("Smith v. Acme" in page, "Erase for good" in page) == (True, False)
        assert "Smith v. Acme" in asked(browser, alice, confirmed="yes").content.decode()
        assert not Erasure.objects.exists()
        assert AuditEntry.objects.filter(act="hold.enforced").exists()

    @pytest.mark.parametrize("role", ["operator", "reviewer"])
    def test_others_do_not_see_it(self, alice: Caller, inbox: Inbox, role: str) -> None:
        browser = console(person("otto", alice.account, role))
        assert asked(browser, alice, confirmed="yes").status_code in (403, 404)
        assert not Erasure.objects.exists()

    def test_of_another_account_there_is_none(self, alice: Caller, charlie: Caller, inbox: Inbox) -> None:
        assert asked(console(person("olga", alice.account, "owner")), charlie).status_code == 400
