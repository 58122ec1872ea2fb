"""Exports of the audit log in the console."""

from typing import Any

from django.urls import reverse

from audit.models import AuditEntry, Export
from tests.cast import Caller
from tests.console import console, person

ADD = reverse("admin:audit_export_add")


def asked(browser: Any, caller: Caller, **body: Any) -> Any:
    return browser.post(ADD, {"account": caller.account.pk, "reason": "The yearly review", **body})


class TestAsking:
    def test_a_reviewer_asks_for_the_trail_and_says_why(self, alice: Caller) -> None:
        assert asked(console(person("rita", alice.account, "reviewer")), alice).status_code == 302
        export = Export.objects.get()
        assert (export.account_id, export.reason) == (alice.account.pk, "The yearly review")
        entry = AuditEntry.objects.get(act="export.created")
        assert (entry.account_id, entry.actor_name) == (alice.account.pk, "rita")

    def test_without_a_reason_there_is_none(self, alice: Caller) -> None:
        assert asked(console(person("rita", alice.account, "reviewer")), alice, reason="").status_code == 400
        assert not Export.objects.exists()

    def test_mail_is_for_those_who_may_read_it(self, alice: Caller) -> None:
        asked(console(person("rita", alice.account, "reviewer")), alice, include=["messages"])
        assert not Export.objects.exists()
        asked(console(person("olga", alice.account)), alice, include=["messages"])
        assert Export.objects.get().include == "messages"

    def test_conversations_are_offered_as_pdf(self, alice: Caller) -> None:
        browser = console(person("olga", alice.account))
        assert "Conversations, as PDF" in browser.get(ADD).content.decode()
        asked(browser, alice, include=["threads", "threads_pdf"])
        assert Export.objects.get().include == "threads threads_pdf"

    def test_of_another_account_there_is_none(self, alice: Caller, charlie: Caller) -> None:
        asked(console(person("rita", alice.account, "reviewer")), charlie)
        assert not Export.objects.exists()
