"""Members in the console: added, given another role, removed; and the last owner stays."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from audit.models import AuditEntry
from inboxes.members import LastOwner, remove_member
from inboxes.models import Account, Membership
from tests.console import PASSWORD, act, console, list_of, page_of, person

ADD = "/admin/inboxes/membership/add/"


@pytest.fixture
def owner(acme: Account) -> Any:
    return console(person("olga", acme, "owner"))


def add(browser: Client, account: Account, username: str = "newcomer", role: str = "operator") -> Any:
    return browser.post(ADD, {"account": account.pk, "username": username, "role": role})


def entry(action: str) -> AuditEntry:
    found: AuditEntry = AuditEntry.objects.filter(act=action).latest("pk")
    return found


class TestAdding:
    def test_a_name_that_only_looks_like_another_is_that_one(self, acme, owner):
        """Signing in makes both the same (NFKC), so the trail must not tell them apart."""
        add(owner, acme, username="newcomer")
        page = add(owner, acme, username="\uff4eewcomer")
        assert "This name is taken" in page.content.decode()

    def test_an_owner_adds_somebody_who_then_signs_in(self, acme, owner):
        page = add(owner, acme, role="reviewer")
        password = page.context["password"]
        assert page.content.decode().count(password) == 1
        assert "no-store" in page["Cache-Control"]
        member = Membership.objects.get(user__username="newcomer")
        assert (member.account, member.role, member.user.is_superuser) == (acme, "reviewer", False)
        newcomer = Client()
        assert newcomer.login(username="newcomer", password=password)
        assert newcomer.get("/admin/inboxes/inbox/").status_code == 200
        assert (entry("membership.created").account_id, entry("membership.created").actor_name) == (acme.pk, "olga")
        assert password not in str(list(AuditEntry.objects.values()))
        assert password not in owner.get(page_of(member)).content.decode()

    def test_a_name_that_is_taken_is_added_by_a_superuser_only(self, acme, owner, charlie, admin_client):
        elsewhere = person("carol", charlie.account, "owner")
        for name in ("carol", "CAROL", "olga"):
            answer = add(owner, acme, name)
            assert answer.status_code == 400
            assert "This name is taken" in answer.content.decode()
        assert elsewhere.memberships.get().account == charlie.account
        assert add(admin_client, acme, "carol", "reviewer").status_code == 302
        assert elsewhere.memberships.get(account=acme).role == "reviewer"
        assert elsewhere.check_password(PASSWORD)

    @pytest.mark.parametrize(
        ("username", "role"), [("", "owner"), ("a b", "owner"), ("x", "god"), ("x" * 151, "owner")]
    )
    def test_it_refuses_what_does_not_fit(self, acme, owner, username, role):
        assert add(owner, acme, username, role).status_code == 400
        assert get_user_model().objects.count() == 1

    def test_it_is_closed_to_the_account_of_another(self, owner, charlie):
        assert add(owner, charlie.account).status_code == 400
        assert not get_user_model().objects.filter(username="newcomer").exists()


class TestRoles:
    def test_they_change_at_once_and_the_trail_says_so(self, acme, owner, alice):
        user = person("rita", acme, "reviewer")
        rita, member = console(user), user.memberships.get()
        assert rita.get("/admin/inboxes/apikey/").status_code == 403
        assert act(owner, "make_owner", member).status_code == 200  # asks first
        assert act(owner, "make_owner", member, reason="takes over").url == page_of(member)
        assert rita.get("/admin/inboxes/apikey/add/").status_code == 200
        told = entry("member.role_changed")
        assert told.changes == {"username": "rita", "role": ["reviewer", "owner"], "reason": "takes over"}
        assert (told.account_id, told.actor_name) == (acme.pk, "olga")
        assert not AuditEntry.objects.filter(act="membership.updated").exists()

    def test_the_page_offers_the_other_roles(self, acme, owner):
        page = owner.get(page_of(person("rita", acme, "reviewer").memberships.get())).content.decode()
        assert "Make owner…" in page
        assert "Make reviewer…" not in page


class TestRemoving:
    def test_it_ends_what_the_member_sees_at_once(self, acme, owner, alice):
        user = person("rita", acme, "operator")
        rita, member = console(user), user.memberships.get()
        inbox = alice.create_inbox()
        assert rita.get(page_of(inbox)).status_code == 200
        assert act(owner, "remove", member, reason="left us").url == list_of(member)
        assert rita.get(page_of(inbox)).status_code == 404
        assert "You belong to no account yet" in rita.get("/admin/").content.decode()
        assert entry("member.removed").changes == {"username": "rita", "role": ["operator", None], "reason": "left us"}
        assert get_user_model().objects.filter(username="rita").exists()

    @pytest.mark.parametrize("action", ["remove", "make_operator", "make_reviewer"])
    def test_the_last_owner_stays(self, acme, owner, admin_client, action):
        person("rita", acme, "operator")
        member = Membership.objects.get(user__username="olga")
        for browser in (owner, admin_client):
            act(browser, action, member, reason="")
            assert "keeps at least one owner" in browser.get("/admin/").content.decode()
            assert Membership.objects.get(pk=member.pk).role == "owner"
        assert not AuditEntry.objects.filter(act__startswith="member.").exists()

    def test_of_two_owners_one_stays_when_both_are_removed(self, acme, owner):
        both = [Membership.objects.get(user__username="olga"), person("otto", acme, "owner").memberships.get()]
        act(owner, "remove", *both, reason="")
        assert Membership.objects.get(account=acme).role == "owner"

    def test_owners_elsewhere_do_not_count(self, acme, owner, charlie):
        person("carol", charlie.account, "owner")
        with pytest.raises(LastOwner):
            remove_member(Membership.objects.get(user__username="olga"))

    def test_the_form_of_a_superuser_keeps_the_last_owner_too(self, acme, owner, admin_client):
        olga = get_user_model().objects.get(username="olga")
        member = olga.memberships.get()
        rows = {"TOTAL_FORMS": "1", "INITIAL_FORMS": "1", "0-id": member.pk, "0-account": acme.pk, "0-user": olga.pk}
        for change in ({"0-role": "reviewer"}, {"0-role": "owner", "0-DELETE": "on"}):
            for page, body in (
                (page_of(olga), {"username": "olga", "is_active": "on", "is_staff": "on"}),
                (page_of(acme), {"name": "Acme"}),
            ):
                form = {f"memberships-{name}": value for name, value in {**rows, **change}.items()}
                answer = admin_client.post(page, body | form)
                assert answer.status_code == 200
                assert "keeps at least one owner" in answer.content.decode()
        assert Membership.objects.get(pk=member.pk).role == "owner"


class TestThemselves:
    def test_a_member_changes_his_password_and_the_trail_says_so(self, acme, owner):
        wanted = {"old_password": PASSWORD, "new_password1": "another-long-one", "new_password2": "another-long-one"}
        assert owner.post("/admin/password_change/", wanted).status_code == 302
        assert entry("user.updated").object_repr == "olga"
        assert Client().login(username="olga", password="another-long-one")
