"""The audit trail in the console, and who signed in to it."""

from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from audit.record import Act, record
from tests.console import HOSTILE, PASSWORD, act, console, list_of, page_of, person, queries_for

LOGIN = "/admin/login/?next=/admin/"


def sign_in(username: str, password: str) -> Any:
    return Client().post(LOGIN, {"username": username, "password": password}, REMOTE_ADDR="192.0.2.7")


class TestSigningIn:
    def test_it_is_recorded(self, db):
        user = person("olga")
        assert sign_in("olga", PASSWORD).status_code == 302
        entry = AuditEntry.objects.get(act="console.signed_in")
        assert (entry.actor_kind, entry.actor_id, entry.actor_name) == ("user", str(user.pk), "olga")
        assert (entry.object_type, entry.object_pk, entry.remote_addr) == ("user", str(user.pk), "192.0.2.7")

    def test_a_failure_is_recorded_with_the_name_of_a_user(self, db):
        person("olga")
        assert sign_in("olga", "wrong").status_code == 200
        entry = AuditEntry.objects.get(act="console.sign_in_failed")
        assert (entry.actor_kind, entry.object_pk, entry.remote_addr) == ("anonymous", "", "192.0.2.7")
        assert entry.changes == {"username": "olga"}

    def test_a_name_that_nobody_has_may_be_a_password_and_is_not_kept(self, db):
        sign_in(PASSWORD, "olga")
        entry = AuditEntry.objects.get(act="console.sign_in_failed")
        assert entry.changes == {"username": "no such user"}
        assert PASSWORD not in str(AuditEntry.objects.values().get(pk=entry.pk))

    def test_the_page_answers_in_our_name(self, client, db):
        page = client.get(LOGIN)
        assert page.status_code == 200
        assert "mailbot console</title>" in page.content.decode()


class TestTrail:
    def test_it_answers_with_entries_and_without(self, admin_client, alice):
        inbox = alice.create_inbox()
        act(admin_client, "pause_inboxes", inbox, reason="bounces")
        entry = AuditEntry.objects.get(act="inbox.paused")
        assert page_of(inbox) in admin_client.get(list_of(AuditEntry)).content.decode()
        page = admin_client.get(page_of(entry)).content.decode()
        assert "bounces" in page
        assert entry.cid in page
        assert "0 audit entries" in admin_client.get(list_of(AuditEntry), {"q": "nothing"}).content.decode()

    def test_it_can_be_narrowed_to_whatever_an_entry_is_of(self, admin_client, alice):
        alice.create_inbox()
        page = admin_client.get(list_of(AuditEntry)).content.decode()
        for kind in AuditEntry.objects.values_list("act", flat=True).distinct():
            assert f"?act={kind}" in page

    def test_it_shows_entries_without_an_object(self, admin_client):
        sign_in("nobody", "wrong")
        assert admin_client.get(list_of(AuditEntry)).status_code == 200
        assert admin_client.get(page_of(AuditEntry.objects.get(act="console.sign_in_failed"))).status_code == 200

    def test_it_is_found_and_narrowed(self, admin_client, alice):
        one, other = alice.create_inbox(username="one"), alice.create_inbox(username="other")
        entry = AuditEntry.objects.get(object_pk=one.pk)
        for query in (
            {"q": one.pk},
            {"q": entry.public_id},
            {"q": entry.cid},
            {"inbox": one.pk},
            {"account": one.account_id, "inbox": one.pk},
        ):
            page = admin_client.get(list_of(AuditEntry), query).content.decode()
            assert page_of(one) in page
            assert page_of(other) not in page
        for query in ({"act": "inbox.paused"}, {"actor_kind": "system"}):
            assert page_of(one) not in admin_client.get(list_of(AuditEntry), query).content.decode()

    def test_it_takes_the_same_queries_however_long_it_is(self, admin_client, alice):
        def add(number: int) -> None:
            for _ in range(number):
                alice.create_inbox()

        add(3)
        at_three = queries_for(admin_client, list_of(AuditEntry))
        add(27)
        assert queries_for(admin_client, list_of(AuditEntry)) == at_three <= 10

    def test_nobody_changes_it(self, admin_client, alice):
        entry = AuditEntry.objects.earliest("pk")
        assert admin_client.post(page_of(entry), {"act": "x"}).status_code == 403
        assert admin_client.post(page_of(entry).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
        assert admin_client.get(list_of(entry) + "add/").status_code == 403

    def test_it_escapes_what_strangers_wrote(self, admin_client, alice):
        record(
            Act.MESSAGE_RECEIVED,
            alice.create_inbox(),
            account_id=alice.account.pk,
            changes={"subject": HOSTILE, HOSTILE: 1},
        )
        for url in (list_of(AuditEntry), page_of(AuditEntry.objects.latest("pk"))):
            assert "<script>alert" not in admin_client.get(url).content.decode()

    @pytest.mark.parametrize("role", ["owner", "reviewer"])
    def test_a_member_reads_the_entries_of_his_account(self, alice, charlie, role):
        inbox, his = alice.create_inbox(), charlie.create_inbox()
        sign_in("nobody", "wrong")
        browser = console(person("olga", alice.account, role))
        page = browser.get(list_of(AuditEntry)).content.decode()
        assert page_of(inbox) in page
        assert page_of(his) not in page
        assert 'class="field-act">console.sign_in_failed' not in page
        assert browser.get(page_of(AuditEntry.objects.get(object_pk=his.pk))).status_code == 404

    def test_the_history_of_a_row_is_its_trail(self, admin_client, alice):
        inbox = alice.create_inbox()
        answer = admin_client.get(page_of(inbox).replace("/change/", "/history/"))
        assert answer.url == f"/admin/audit/auditentry/?q={inbox.pk}"
