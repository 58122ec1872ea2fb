"""Legal holds and retention classes in the console."""

from typing import Any

import pytest

from audit.models import AuditEntry
from inboxes.holds import place
from inboxes.models import Account, Inbox, LegalHold, RetentionClass
from inboxes.retention_classes import make_class
from tests.cast import Caller
from tests.console import act, console, list_of, page_of, person, queries_for

HOLDS = "/admin/inboxes/legalhold/"
CLASSES = "/admin/inboxes/retentionclass/"
CASE = {"matter": "Smith v. Shop", "reason": "A claim"}


@pytest.fixture
def owner(acme: Account) -> Any:
    return console(person("olga", acme, "owner"))


@pytest.fixture
def operator(acme: Account) -> Any:
    return console(person("oscar", acme))


@pytest.fixture
def reviewer(acme: Account) -> Any:
    return console(person("rita", acme, "reviewer"))


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox()


class TestPlacing:
    def test_an_owner_places_one_from_the_page_of_an_inbox(
        self, acme: Account, owner: Any, reviewer: Any, inbox: Inbox
    ) -> None:
        link = f"{HOLDS}add/?inbox={inbox.pk}"
        assert link in owner.get(page_of(inbox)).content.decode()
        form = owner.get(link)
        assert inbox.pk in form.content.decode()
        answer = owner.post(link, {"account": acme.pk, "inbox": inbox.pk, **CASE})
        hold = LegalHold.objects.get()
        assert answer.url == page_of(hold)
        assert (hold.inbox, hold.placed_by) == (inbox, "olga")
        for browser in (owner, reviewer):
            assert "Under legal hold" in browser.get(page_of(inbox)).content.decode()
            assert "A claim" in browser.get(page_of(hold)).content.decode()
            assert "Smith v. Shop" in browser.get(list_of(hold)).content.decode()
        entry = AuditEntry.objects.get(act="hold.placed")
        assert (entry.actor_name, entry.inbox_id) == ("olga", inbox.pk)

    def test_it_takes_an_address_or_a_deleted_inbox_by_its_id_or_all(
        self, acme: Account, alice: Caller, owner: Any, inbox: Inbox
    ) -> None:
        gone = alice.create_inbox()
        alice.delete(f"/v1/inboxes/{gone.pk}")
        for wanted in (inbox.address, gone.pk, ""):
            owner.post(f"{HOLDS}add/", {"account": acme.pk, "inbox": wanted, **CASE})
        assert [hold.inbox for hold in LegalHold.objects.order_by("pk")] == [inbox, gone, None]

    def test_it_says_what_is_wrong(self, acme: Account, charlie: Caller, owner: Any) -> None:
        theirs = charlie.create_inbox()
        answer = owner.post(f"{HOLDS}add/", {"account": acme.pk, "inbox": theirs.pk, **CASE})
        assert answer.status_code == 400
        assert "no such inbox" in answer.content.decode()
        assert owner.post(f"{HOLDS}add/", {"account": acme.pk, "matter": "x"}).status_code == 400
        assert not LegalHold.objects.exists()

    def test_others_see_and_place_none(self, acme: Account, operator: Any, reviewer: Any, inbox: Inbox) -> None:
        for browser in (operator, reviewer):
            assert browser.post(f"{HOLDS}add/", {"account": acme.pk, **CASE}).status_code in (403, 404)
            assert "Place a legal hold" not in browser.get(page_of(inbox)).content.decode()
        assert not LegalHold.objects.exists()


class TestHeld:
    def test_the_button_says_why_nothing_was_deleted(self, acme: Account, operator: Any, inbox: Inbox) -> None:
        place(acme, inbox=inbox, **CASE)
        answer = act(operator, "delete_inboxes", inbox, reason="tidy up")
        page = operator.get(answer.url).content.decode()
        assert "Smith v. Shop" in page
        assert "A legal hold stands against this" in page
        assert "0 inbox(es) deleted" in page
        inbox.refresh_from_db()
        assert inbox.status == "active"
        entry = AuditEntry.objects.get(act="hold.enforced")
        assert (entry.actor_name, entry.inbox_id, entry.changes["refused"]) == ("oscar", inbox.pk, "delete the inbox")

    def test_it_deletes_the_others(self, acme: Account, alice: Caller, operator: Any, inbox: Inbox) -> None:
        free = alice.create_inbox()
        place(acme, inbox=inbox, **CASE)
        act(operator, "delete_inboxes", inbox, free, reason="tidy up")
        assert list(Inbox.objects.filter(status="deleted")) == [free]

    def test_an_owner_releases_it_with_a_reason(self, acme: Account, owner: Any, operator: Any, inbox: Inbox) -> None:
        hold = place(acme, inbox=inbox, **CASE)
        act(operator, "release_holds", hold, reason="mine")
        act(owner, "release_holds", hold, reason="")
        assert LegalHold.objects.get().is_in_force
        act(owner, "release_holds", hold, reason="Settled")
        hold.refresh_from_db()
        assert (hold.released_by, hold.release_reason) == ("olga", "Settled")
        assert "Under legal hold" not in owner.get(page_of(inbox)).content.decode()
        assert "Settled" in owner.get(page_of(hold)).content.decode()
        assert AuditEntry.objects.get(act="hold.released").actor_name == "olga"

    def test_its_list_asks_as_many_however_long_it_is(self, acme: Account, alice: Caller, owner: Any) -> None:
        hold = place(acme, inbox=alice.create_inbox(), **CASE)
        few = queries_for(owner, list_of(hold))
        for _ in range(10):
            place(acme, inbox=alice.create_inbox(), **CASE)
        assert queries_for(owner, list_of(hold)) == few


class TestClasses:
    def test_an_owner_makes_and_changes_one(self, acme: Account, owner: Any, reviewer: Any) -> None:
        answer = owner.post(
            f"{CLASSES}add/", {"account": acme.pk, "name": "Support", "content_days": "365", "is_default": "on"}
        )
        made = RetentionClass.objects.get()
        assert answer.url == page_of(made)
        assert (made.content_days, made.audit_days, made.is_default) == (365, None, True)
        page = reviewer.get(page_of(made)).content.decode()
        assert "365 days" in page
        assert "for ever" in page
        assert "/edit/" not in page
        assert reviewer.get(f"{CLASSES}{made.pk}/edit/").status_code == 404
        owner.post(f"{CLASSES}{made.pk}/edit/", {"name": "Support", "content_days": "730"})
        made.refresh_from_db()
        assert (made.content_days, made.is_default) == (730, False)
        acts = AuditEntry.objects.filter(object_pk=made.pk).order_by("pk").values_list("act", "actor_name")
        assert list(acts) == [("retention.class_created", "olga"), ("retention.class_changed", "olga")]

    def test_the_trail_is_kept_for_a_month_at_least(self, acme: Account, owner: Any) -> None:
        answer = owner.post(f"{CLASSES}add/", {"account": acme.pk, "name": "Short", "audit_days": "29"})
        assert answer.status_code == 400
        assert "greater than or equal to 30" in answer.content.decode()

    def test_a_name_is_taken_once(self, acme: Account, owner: Any) -> None:
        make_class(acme, {"name": "Support"})
        answer = owner.post(f"{CLASSES}add/", {"account": acme.pk, "name": "Support"})
        assert "is called “Support” already" in answer.content.decode()

    def test_it_is_chosen_for_an_inbox_by_owners(
        self, acme: Account, charlie: Caller, owner: Any, operator: Any, inbox: Inbox
    ) -> None:
        mine, theirs = make_class(acme, {"name": "Long"}), make_class(charlie.account, {"name": "Theirs"})
        page = f"/admin/inboxes/inbox/{inbox.pk}/retention/"
        assert operator.get(page).status_code == 404
        assert owner.post(page, {"retention_class": theirs.pk}).status_code == 400
        assert owner.post(page, {"retention_class": mine.pk}).url == page_of(inbox)
        inbox.refresh_from_db()
        assert inbox.retention_class == mine
        assert page_of(mine) in owner.get(page_of(inbox)).content.decode()
        assert AuditEntry.objects.filter(act="inbox.updated", inbox_id=inbox.pk, actor_name="olga").exists()

    def test_the_page_of_an_inbox_says_which_counts(self, acme: Account, reviewer: Any, inbox: Inbox) -> None:
        assert "no class: everything is kept" in reviewer.get(page_of(inbox)).content.decode()
        make_class(acme, {"name": "Of all", "is_default": True})
        page = reviewer.get(page_of(inbox)).content.decode()
        assert "Of all" in page
        assert "(the account’s default)" in page

    def test_one_that_inboxes_name_is_not_deleted(self, acme: Account, owner: Any, inbox: Inbox) -> None:
        retention = make_class(acme, {"name": "Long"})
        Inbox.objects.filter(pk=inbox.pk).update(retention_class=retention)
        answer = act(owner, "delete_classes", retention, reason="")
        assert "1 inbox names the class" in owner.get(answer.url).content.decode()
        Inbox.objects.update(retention_class=None)
        act(owner, "delete_classes", retention, reason="because")
        assert not RetentionClass.objects.exists()
