"""The console's pages of inboxes and accounts, as their users have them: through HTTP."""

from typing import Any

import pytest

from audit.models import AuditEntry
from inboxes.models import Account, Inbox
from inboxes.retention_classes import make_class
from tests.cast import Caller
from tests.console import HOSTILE, act, console, list_of, page_of, person, queries_for
from threads.models import Event

CREATE = "/admin/inboxes/inbox/add/"


@pytest.fixture
def operator(acme: Account) -> Any:
    return console(person("olga", acme))


class TestPausing:
    def test_it_asks_first_and_changes_nothing_by_asking(self, alice, operator):
        inbox = alice.create_inbox()
        answer = act(operator, "pause_inboxes", inbox)
        assert answer.status_code == 200
        assert inbox.address in answer.content.decode()
        assert Inbox.objects.get().status == "active"

    def test_it_pauses_with_a_reason_and_names_the_user_in_the_trail(self, alice, operator):
        inbox = alice.create_inbox()
        answer = act(operator, "pause_inboxes", inbox, reason="too many bounces")
        assert answer.status_code == 302
        assert answer.url == page_of(inbox)
        inbox.refresh_from_db()
        assert (inbox.status, inbox.status_reason) == ("paused", "too many bounces")
        entry = AuditEntry.objects.get(act="inbox.paused")
        assert (entry.actor_kind, entry.actor_name) == ("user", "olga")
        assert entry.changes["reason"] == "too many bounces"
        assert Event.objects.filter(type="inbox.paused").count() == 1

    def test_it_wants_a_reason(self, alice, operator):
        inbox = alice.create_inbox()
        answer = act(operator, "pause_inboxes", inbox, reason="")
        assert "This field is required" in answer.content.decode()
        assert Inbox.objects.get().status == "active"

    def test_it_does_nothing_by_get(self, alice, operator):
        inbox = alice.create_inbox()
        operator.get(
            list_of(inbox),
            {"action": "pause_inboxes", "_selected_action": inbox.pk, "confirmed": "yes", "reason": "x"},
        )
        assert Inbox.objects.get().status == "active"

    def test_it_resumes_and_deletes(self, alice, operator):
        inbox = alice.create_inbox()
        act(operator, "pause_inboxes", inbox, reason="a while")
        act(operator, "resume_inboxes", inbox, reason="")
        assert Inbox.objects.get().status == "active"
        act(operator, "delete_inboxes", inbox, reason="left us")
        assert Inbox.objects.get().status == "deleted"
        assert set(AuditEntry.objects.values_list("act", flat=True)) >= {"inbox.resumed", "inbox.deleted"}

    def test_it_takes_several_at_once_and_leaves_out_those_it_does_not_fit(self, alice, operator):
        one, two, gone = alice.create_inbox(), alice.create_inbox(), alice.create_inbox()
        act(operator, "delete_inboxes", gone, reason="gone")
        answer = act(operator, "pause_inboxes", one, two, gone, reason="maintenance")
        assert answer.url == list_of(one)
        assert sorted(Inbox.objects.values_list("status", flat=True)) == ["deleted", "paused", "paused"]

    def test_it_offers_what_can_be_done(self, alice, operator):
        inbox = alice.create_inbox()
        page = operator.get(page_of(inbox)).content.decode()
        assert "Pause…" in page
        assert "Resume…" not in page


class TestCreating:
    def body(self, account: Account, **given: str) -> dict[str, str]:
        return {"account": account.pk, "mode": "live", "username": "support", **given}

    def test_it_creates_one_that_takes_mail(self, acme, operator):
        answer = operator.post(CREATE, self.body(acme, display_name="Support"))
        inbox = Inbox.objects.get()
        assert answer.url == page_of(inbox)
        assert (inbox.address, inbox.mode, inbox.account_id) == ("support@mailbot.localhost", "live", acme.pk)
        assert AuditEntry.objects.get(act="inbox.created").actor_name == "olga"

    def test_it_says_that_an_address_is_taken_and_what_is_free(self, acme, alice, operator):
        alice.create_inbox(username="support")
        page = operator.post(CREATE, self.body(acme))
        assert page.status_code == 400
        assert "is taken. Free: " in page.content.decode()

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ({"username": "postmaster"}, "is reserved"),
            ({"username": "a+b"}, "is not possible"),
            ({"username": "a b"}, "cannot be used"),
            ({"domain": "elsewhere.example"}, "not a domain of this account"),
            ({"domain": "not a domain"}, "is not valid"),
        ],
    )
    def test_it_shows_why_an_address_is_refused(self, acme, operator, given, reason):
        page = operator.post(CREATE, self.body(acme, **given))
        assert page.status_code == 400
        assert reason in page.content.decode()
        assert not Inbox.objects.exists()

    def test_it_is_closed_to_the_account_of_another(self, charlie, operator):
        page = operator.post(CREATE, self.body(charlie.account))
        assert page.status_code == 400
        assert not Inbox.objects.exists()

    def test_an_owner_chooses_how_long_it_keeps_what_it_has(self, acme, charlie):
        owner = console(person("otto", acme, "owner"))
        assert "id_retention_class" not in owner.get(CREATE).content.decode()
        mine, theirs = make_class(acme, {"name": "Long"}), make_class(charlie.account, {"name": "Theirs"})
        page = owner.get(CREATE).content.decode()
        assert ("id_retention_class" in page, "Long" in page, "Theirs" in page) == (True, True, False)
        assert owner.post(CREATE, self.body(acme, retention_class=theirs.pk)).status_code == 400
        owner.post(CREATE, self.body(acme, retention_class=mine.pk))
        assert Inbox.objects.get().retention_class == mine
        owner.post(CREATE, self.body(acme, username="other"))
        assert Inbox.objects.get(local_part="other").retention_class is None

    def test_an_operator_is_not_asked_for_it(self, acme, operator):
        mine = make_class(acme, {"name": "Long"})
        assert "id_retention_class" not in operator.get(CREATE).content.decode()
        operator.post(CREATE, self.body(acme, retention_class=mine.pk))
        assert Inbox.objects.get().retention_class is None

    def test_the_class_is_one_of_the_chosen_account(self, admin_client, acme, charlie):
        theirs = make_class(charlie.account, {"name": "Theirs"})
        make_class(acme, {"name": "Long"})
        assert f"Theirs ({charlie.account.name})" in admin_client.get(CREATE).content.decode()
        answer = admin_client.post(CREATE, self.body(acme, retention_class=theirs.pk))
        assert answer.status_code == 400
        assert "This is a class of another account." in answer.content.decode()
        assert not Inbox.objects.exists()


class TestWhoSees:
    def test_a_stranger_finds_nothing(self, alice, charlie):
        inbox, browser = alice.create_inbox(), console(person("charlie", charlie.account))
        assert inbox.address not in browser.get(list_of(inbox)).content.decode()
        assert browser.get(list_of(inbox), {"account": inbox.account_id}).status_code == 200
        assert browser.get(page_of(inbox)).status_code == 404
        assert browser.get(page_of(alice.account)).status_code == 404
        assert alice.account.name not in browser.get(list_of(alice.account)).content.decode()
        act(browser, "pause_inboxes", inbox, reason="mine now")
        assert Inbox.objects.get().status == "active"

    def test_a_reviewer_reads_and_changes_nothing(self, alice, acme):
        inbox, browser = alice.create_inbox(), console(person("rita", acme, "reviewer"))
        assert "Pause…" not in browser.get(page_of(inbox)).content.decode()
        act(browser, "pause_inboxes", inbox, reason="no")
        assert Inbox.objects.get().status == "active"
        assert browser.get(CREATE).status_code == 404
        assert browser.post(page_of(inbox), {"display_name": "Mine"}).status_code == 403
        assert browser.post(page_of(inbox).replace("change", "delete"), {"post": "yes"}).status_code == 403

    def test_who_reviews_here_and_operates_there_changes_only_there(self, alice, acme, charlie):
        user = person("mixed", acme, "reviewer")
        user.memberships.create(account=charlie.account, role="operator")
        here, there = alice.create_inbox(), charlie.create_inbox()
        act(console(user), "pause_inboxes", here, there, reason="both")
        assert dict(Inbox.objects.values_list("pk", "status")) == {here.pk: "active", there.pk: "paused"}

    def test_a_visitor_is_asked_to_sign_in(self, alice, client):
        inbox = alice.create_inbox()
        for url in [page_of(inbox), list_of(inbox), "/admin/", CREATE]:
            assert client.get(url).status_code == 302

    def test_staff_without_a_membership_see_an_empty_console(self, alice, django_user_model):
        browser = console(django_user_model.objects.create_user("nobody", is_staff=True))
        page = browser.get("/admin/").content.decode()
        assert "You belong to no account yet" in page
        assert "Nothing needs you." not in page
        assert browser.get(list_of(alice.create_inbox())).status_code == 403


class TestLists:
    def test_they_answer_with_rows_and_without(self, admin_client, alice):
        for kind in (Inbox, Account):
            assert admin_client.get(list_of(kind)).status_code == 200
        inbox = alice.create_inbox(display_name="Support", metadata={"agent": "<b>"})
        for row in (inbox, alice.account):
            assert admin_client.get(list_of(row)).status_code == 200
            assert admin_client.get(page_of(row)).status_code == 200

    @pytest.mark.parametrize("kind", [Inbox, Account])
    def test_they_cost_the_same_however_long_they_are(self, admin_client, alice, kind):
        def add(number: int) -> None:
            for position in range(number):
                alice.create_inbox()
                Caller(Account.objects.create(name=f"Account {position}"), "Somebody")

        add(3)
        at_three = queries_for(admin_client, list_of(kind))
        add(27)
        assert queries_for(admin_client, list_of(kind)) == at_three <= 10

    @pytest.mark.parametrize("words", ["support", "Acme Help", "SUPPORT@"])
    def test_they_find_by_address_and_name(self, admin_client, alice, words):
        alice.create_inbox(username="support", display_name="Acme Help")
        alice.create_inbox(username="billing")
        page = admin_client.get(list_of(Inbox), {"q": words}).content.decode()
        assert "support@" in page
        assert "billing@" not in page

    def test_they_find_by_id_and_filter(self, admin_client, alice, charlie):
        mine, his = alice.create_inbox(username="mine"), charlie.create_inbox(username="his")
        for query in ({"q": mine.pk}, {"account": mine.account_id}, {"q": mine.account_id}):
            page = admin_client.get(list_of(Inbox), query).content.decode()
            assert mine.address in page
            assert his.address not in page
        for query in ({"status": "paused"}, {"mode": "live"}, {"domain": "x.example"}, {"account": "nonsense\0"}):
            assert mine.address not in admin_client.get(list_of(Inbox), query).content.decode()

    def test_an_account_shows_its_numbers(self, admin_client, alice, bob):
        alice.create_inbox()
        page = admin_client.get(list_of(Account)).content.decode()
        assert '<td class="field-inbox_count">1</td><td class="field-key_count">2</td>' in page

    def test_what_others_wrote_is_escaped(self, admin_client, alice):
        inbox = alice.create_inbox(display_name=HOSTILE[:200], metadata={"<script>": HOSTILE})
        act(admin_client, "pause_inboxes", inbox, reason=HOSTILE[:500])
        for page in (list_of(inbox), page_of(inbox), "/admin/audit/auditentry/"):
            assert "<script>alert" not in admin_client.get(page).content.decode()

    def test_an_id_that_is_none_is_not_found(self, admin_client, db):
        assert admin_client.get("/admin/inboxes/inbox/no%00thing/change/").status_code == 404
        assert admin_client.get("/admin/inboxes/inbox/inbox_5Fnothing/change/").status_code == 404
