"""Issuing and revoking API keys in the console."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from audit.models import AuditEntry
from inboxes.models import Account, ApiKey
from inboxes.permissions import AGENT
from tests.console import act, console, list_of, page_of, person, queries_for

ISSUE = "/admin/inboxes/apikey/add/"


@pytest.fixture
def owner(acme: Account) -> Any:
    return console(person("olga", acme, "owner"))


def body(account: Account, **given: str) -> dict[str, str]:
    return {"account": account.pk, "name": "Support agent", "mode": "live", "preset": "agent", **given}


class TestIssuing:
    def test_it_shows_the_secret_once_and_keeps_it_nowhere(self, acme, owner, client, caplog):
        answer = owner.post(ISSUE, body(acme))
        secret = answer.context["secret"]
        assert answer.status_code == 200
        assert answer.content.decode().count(secret) == 1
        assert "no-store" in answer["Cache-Control"]
        key = ApiKey.objects.get()
        for later in (page_of(key), list_of(key), ISSUE, "/admin/", "/admin/audit/auditentry/"):
            assert secret not in owner.get(later).content.decode()
        assert not any(secret in str(session.get_decoded()) for session in Session.objects.all())
        assert secret not in caplog.text
        assert secret not in str(list(AuditEntry.objects.values()))
        assert not any(secret in morsel.value for morsel in owner.cookies.values())

    def test_the_key_works_and_has_what_was_asked_for(self, acme, owner, client):
        secret = owner.post(ISSUE, body(acme)).context["secret"]
        assert client.get("/v1/inboxes", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
        key = ApiKey.objects.get()
        assert (key.name, key.mode, key.permissions, key.inbox_ids) == ("Support agent", "live", list(AGENT), None)
        entry = AuditEntry.objects.get(act="key.issued")
        assert (entry.actor_kind, entry.actor_name) == ("user", "olga")

    def test_it_limits_the_key_to_an_inbox_and_a_time(self, acme, alice, owner):
        inbox = alice.create_inbox(username="support")
        tomorrow = timezone.now() + timedelta(days=1)
        for named in (inbox.address, inbox.pk, "SUPPORT@mailbot.localhost"):
            given = body(acme, mode="test", inboxes=named, expires_at=tomorrow.strftime("%Y-%m-%dT%H:%M"))
            assert "secret" in owner.post(ISSUE, given).context
        newest = ApiKey.objects.first()
        assert newest is not None
        assert newest.inbox_ids == [inbox.pk]
        assert newest.expires_at == tomorrow.replace(second=0, microsecond=0)

    def test_it_refuses_what_does_not_fit(self, acme, alice, charlie, owner):
        keys, his, mine = ApiKey.objects.count(), charlie.create_inbox(), alice.create_inbox()
        for given in (
            body(acme, inboxes=his.address, mode="test"),
            body(acme, inboxes=mine.address, mode="live"),
            body(acme, expires_at="2020-01-01T00:00"),
            body(acme, preset="god"),
            body(acme, name=""),
            body(charlie.account),
        ):
            assert owner.post(ISSUE, given).status_code == 400
        assert ApiKey.objects.count() == keys

    def test_it_is_prefilled_from_the_page_of_an_inbox(self, alice, owner):
        inbox = alice.create_inbox()
        assert f">\n{inbox.address}<" in owner.get(ISSUE, {"inbox": inbox.pk}).content.decode()

    def test_it_is_closed_to_reviewers(self, acme):
        browser = console(person("rita", acme, "reviewer"))
        assert browser.get(ISSUE).status_code == 404
        assert browser.post(ISSUE, body(acme)).status_code == 404
        assert not ApiKey.objects.exists()


class TestRevoking:
    def test_it_asks_and_then_revokes(self, alice, owner, client):
        assert act(owner, "revoke", alice.key).status_code == 200
        assert alice.get("/v1/inboxes").status_code == 200
        assert act(owner, "revoke", alice.key, reason="").status_code == 302
        assert alice.get("/v1/inboxes").status_code == 401
        assert AuditEntry.objects.get(act="key.revoked").actor_name == "olga"

    def test_a_stranger_cannot(self, alice, charlie):
        browser = console(person("charlie", charlie.account))
        assert browser.get(page_of(alice.key)).status_code == 404
        act(browser, "revoke", alice.key, reason="")
        assert alice.get("/v1/inboxes").status_code == 200

    def test_a_key_is_neither_edited_nor_deleted(self, admin_client, alice):
        assert admin_client.post(page_of(alice.key), {"name": "x", "digest": "0" * 64}).status_code == 403
        assert admin_client.post(page_of(alice.key).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
        act(admin_client, "delete_selected", alice.key)
        page = admin_client.get(page_of(alice.key)).content.decode()
        assert alice.key.digest not in page
        assert alice.get("/v1/inboxes").status_code == 200


class TestList:
    def test_it_answers_without_rows_and_tells_the_states(self, admin_client, alice, bob, charlie):
        ApiKey.objects.filter(pk=bob.key.pk).update(revoked_at=timezone.now())
        ApiKey.objects.filter(pk=charlie.key.pk).update(expires_at=timezone.now())
        for state, key in (("usable", alice.key), ("revoked", bob.key), ("expired", charlie.key)):
            page = admin_client.get(list_of(ApiKey), {"status": state}).content.decode()
            assert key.prefix in page
            assert page.count('class="action-select"') == 1
        ApiKey.objects.all().delete()
        assert admin_client.get(list_of(ApiKey)).status_code == 200

    def test_it_costs_the_same_however_long_it_is(self, admin_client, alice):
        def add(number: int) -> None:
            for _ in range(number):
                alice.with_key(inbox=alice.create_inbox())

        add(3)
        at_three = queries_for(admin_client, list_of(ApiKey))
        add(27)
        assert queries_for(admin_client, list_of(ApiKey)) == at_three <= 10
