"""What of an inbox is over, in the console, and removing it at once."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEntry
from delivery import retention_sweep
from delivery.models import RawObject
from delivery.raw_mover import move_batch
from inboxes.holds import place
from inboxes.models import Account, Inbox, RetentionClass
from inboxes.retention_classes import make_class
from tests.cast import Caller
from tests.console import HOSTILE, console, list_of, page_of, person, queries_for
from tests.mailing import deliver, mail
from tests.stores import Store
from threads.models import Message

CASE = {"matter": "Smith v. Shop", "reason": "A claim"}


@pytest.fixture
def operator(acme: Account) -> Any:
    return console(person("oscar", acme))


@pytest.fixture
def owner(acme: Account) -> Any:
    return console(person("olga", acme, "owner"))


@pytest.fixture
def reviewer(acme: Account) -> Any:
    return console(person("rita", acme, "reviewer"))


@pytest.fixture
def inbox(alice: Caller, store: Store, settings: Any) -> Inbox:
    """With two messages, of which one is over, and which the sweep has just looked at."""
    settings.RAW_RETENTION_DAYS = 0
    inbox = alice.create_inbox()
    for subject in ("Old", "New"):
        deliver(mail(Subject=subject), inbox)
    retention = make_class(alice.account, {"name": "Short", "content_days": 30})
    Message.objects.filter(subject="Old").update(created_at=timezone.now() - timedelta(days=31))
    due = timezone.now() + timedelta(hours=3)
    Inbox.objects.filter(pk=inbox.pk).update(retention_class=retention, retention_due_at=due)
    return Inbox.objects.get(pk=inbox.pk)


def over_page(inbox: Inbox) -> str:
    return reverse("admin:inboxes_retentionclass_over", args=[inbox.pk])


def compliance(inbox: Inbox) -> str:
    return reverse("admin:inboxes_compliance_inbox", args=[inbox.pk])


def counts(answer: Any) -> dict[str, str]:
    return {part.label: str(part.over) for part in answer.context["over"].parts}


def subjects() -> list[str]:
    return list(Message.objects.order_by("pk").values_list("subject", flat=True))


class TestPage:
    def test_it_shows_what_is_over_part_by_part(self, operator: Any, inbox: Inbox) -> None:
        answer = operator.get(over_page(inbox))
        assert counts(answer) == {"Messages and attachments": "1", "Raw mail": "0", "Events": "0", "Audit trail": "0"}
        page = answer.content.decode()
        for words in ("30 days", "Remove now", "The sweep looks at this inbox", "in 3 h", "which is the inbox’s own"):
            assert words in page
        assert "Nothing is over" not in page
        for other in (page_of(inbox), compliance(inbox)):
            assert over_page(inbox) in operator.get(other).content.decode()

    def test_the_compliance_view_shows_it_too(self, operator: Any, reviewer: Any, inbox: Inbox) -> None:
        for browser, may in ((operator, True), (reviewer, False)):
            page = browser.get(compliance(inbox)).content.decode()
            assert "1 over" in page
            assert ("Remove now…" in page) is may
        Message.objects.update(created_at=timezone.now())
        page = operator.get(compliance(inbox)).content.decode()
        assert "Nothing is over." in page
        assert "Remove now…" not in page

    def test_it_says_that_nothing_is_over(self, operator: Any, inbox: Inbox) -> None:
        Message.objects.update(created_at=timezone.now())
        page = operator.get(over_page(inbox)).content.decode()
        assert "Nothing is over." in page
        assert "Remove now" not in page

    def test_without_a_class_there_is_nothing_to_press(self, operator: Any, inbox: Inbox) -> None:
        Inbox.objects.update(retention_class=None)
        page = operator.get(over_page(inbox)).content.decode()
        assert "No retention class counts" in page
        assert "Remove now" not in page
        operator.post(over_page(inbox))
        assert subjects() == ["Old", "New"]

    def test_names_are_shown_as_they_are(self, operator: Any, acme: Account, inbox: Inbox) -> None:
        RetentionClass.objects.update(name=HOSTILE[:100])
        place(acme, inbox=inbox, matter=HOSTILE[:100], reason="A claim")
        for page in (over_page(inbox), compliance(inbox), list_of(RetentionClass.objects.get())):
            assert "<script>alert" not in operator.get(page).content.decode()


class TestRemoving:
    def test_it_goes_at_once_and_the_trail_says_by_whom(self, operator: Any, inbox: Inbox) -> None:
        answer = operator.post(over_page(inbox))
        assert answer.url == over_page(inbox)
        assert "Removed: 1 message." in operator.get(answer.url).content.decode()
        assert subjects() == ["New"]
        entry = AuditEntry.objects.get(act="content.removed")
        assert (entry.actor_name, entry.inbox_id, entry.changes["messages"]) == ("oscar", inbox.pk, 1)
        assert entry.changes["reason"] == "retention"
        due = Inbox.objects.get(pk=inbox.pk).retention_due_at
        assert timedelta(hours=5) < due - timezone.now() <= retention_sweep.EVERY

    def test_pressed_twice_it_says_that_nothing_was_over(self, operator: Any, inbox: Inbox) -> None:
        operator.post(over_page(inbox))
        assert "Nothing was over" in operator.get(operator.post(over_page(inbox)).url).content.decode()
        assert AuditEntry.objects.filter(act="content.removed").count() == 1

    def test_what_takes_long_is_left_to_the_sweep(
        self, operator: Any, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "delivery.console_retention.remove_now", lambda inbox: retention_sweep.remove_now(inbox, seconds=-1)
        )
        page = operator.get(operator.post(over_page(inbox)).url).content.decode()
        assert "Removed so far: 1 message." in page
        assert "within a minute" in page
        assert Inbox.objects.get(pk=inbox.pk).retention_due_at <= timezone.now()

    @pytest.mark.parametrize("of_account", [False, True])
    def test_a_hold_refuses_it(self, operator: Any, acme: Account, inbox: Inbox, of_account: bool) -> None:
        place(acme, inbox=None if of_account else inbox, **CASE)
        page = operator.get(over_page(inbox)).content.decode()
        assert "Under legal hold" in page
        assert "Smith v. Shop" in page
        assert "Remove now" not in page
        assert "Remove now" not in operator.get(compliance(inbox)).content.decode()
        page = operator.get(operator.post(over_page(inbox)).url).content.decode()
        assert "Nothing was removed. A legal hold stands against this (remove what is over)" in page
        assert subjects() == ["Old", "New"]
        entry = AuditEntry.objects.get(act="hold.enforced")
        assert (entry.actor_name, entry.inbox_id, entry.changes["refused"]) == (
            "oscar",
            inbox.pk,
            "remove what is over",
        )

    def test_raw_mail_that_another_account_keeps_stays(self, operator: Any, charlie: Caller, inbox: Inbox) -> None:
        """Whoever presses sees his own accounts only, and removes for all of them."""
        theirs = charlie.create_inbox()
        deliver(mail(Subject="Shared"), inbox, theirs)
        move_batch(older_than=timedelta())
        RetentionClass.objects.update(raw_days=1)
        RawObject.objects.update(mail_at=timezone.now() - timedelta(days=2))
        operator.post(over_page(inbox))
        (message,) = charlie.messages(theirs)
        assert charlie.get(f"/v1/inboxes/{theirs.pk}/messages/{message['id']}/raw").status_code == 200
        assert (
            AuditEntry.objects.get(act="raw.removed", inbox_id=inbox.pk).changes["mails"] == 1
        )  # “Old” went with its content

    def test_a_reviewer_sees_it_and_cannot_press(self, reviewer: Any, inbox: Inbox) -> None:
        page = reviewer.get(over_page(inbox)).content.decode()
        assert "Operators of the account can remove it" in page
        assert "Remove now" not in page
        assert reviewer.post(over_page(inbox)).status_code == 404
        assert subjects() == ["Old", "New"]

    def test_a_stranger_gets_404(self, charlie: Caller, inbox: Inbox) -> None:
        stranger = console(person("steve", charlie.account, "owner"))
        for answer in (stranger.get(over_page(inbox)), stranger.post(over_page(inbox))):
            assert answer.status_code == 404
        assert stranger.get(f"{over_page(inbox)[:-8]}nonsense/").status_code == 404
        assert subjects() == ["Old", "New"]


class TestFinding:
    def test_the_list_of_classes_leads_to_their_inboxes(self, owner: Any, alice: Caller, inbox: Inbox) -> None:
        other = alice.create_inbox()
        short = RetentionClass.objects.get()
        default = make_class(alice.account, {"name": "Default", "is_default": True})
        for retention, shown, hidden in ((short, inbox, other), (default, other, inbox)):
            link = f"{list_of(inbox)}?retention={retention.pk}"
            assert link in owner.get(list_of(retention)).content.decode()
            assert link in owner.get(page_of(retention)).content.decode()
            page = owner.get(link).content.decode()
            assert (shown.address in page, hidden.address in page) == (True, False)

    def test_one_of_another_account_finds_nothing(self, owner: Any, charlie: Caller, inbox: Inbox) -> None:
        theirs = make_class(charlie.account, {"name": "Theirs", "is_default": True})
        for pk in (theirs.pk, "nonsense", "\0"):
            page = owner.get(list_of(inbox), {"retention": pk})
            assert list(page.context["cl"].queryset) == []
            assert "Theirs" not in page.content.decode()

    def test_the_list_asks_as_many_however_long_it_is(self, owner: Any, acme: Account, inbox: Inbox) -> None:
        retention = RetentionClass.objects.get()
        few = queries_for(owner, list_of(retention))
        for number in range(10):
            make_class(acme, {"name": f"Class {number}"})
        assert queries_for(owner, list_of(retention)) == few


class TestCommand:
    def run(self, *given: str) -> str:
        out = StringIO()
        call_command("retention", *given, stdout=out)
        return out.getvalue().strip()

    def test_it_removes_what_is_over_of_one_inbox(self, inbox: Inbox) -> None:
        assert self.run("--inbox", inbox.pk) == f"{inbox.pk} {inbox.address}: 1 content removed"
        assert self.run("--inbox", inbox.pk) == f"{inbox.pk} {inbox.address}: nothing removed"
        assert subjects() == ["New"]
        assert AuditEntry.objects.get(act="content.removed").actor_id == "manage.py retention"

    def test_a_hold_refuses_it(self, acme: Account, inbox: Inbox) -> None:
        place(acme, inbox=inbox, **CASE)
        with pytest.raises(CommandError, match="Smith v"):
            self.run("--inbox", inbox.pk)
        assert subjects() == ["Old", "New"]
        assert AuditEntry.objects.filter(act="hold.enforced").exists()

    def test_it_says_that_there_is_no_such_inbox(self, db: None) -> None:
        with pytest.raises(CommandError, match="no inbox"):
            self.run("--inbox", "inbox_nonsense")
