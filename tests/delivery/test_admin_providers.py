"""Providers in the console."""

from typing import Any

import pytest
from django.urls import reverse

from audit.models import AuditEntry
from delivery.esps import ESPS
from delivery.models import OutboundMail
from inboxes.models import Account, Inbox, Provider
from tests.cast import Caller
from tests.console import console, list_of, page_of, person, queries_for

TOKEN = "the-server-token"


@pytest.fixture
def live(alice: Caller) -> Caller:
    return alice.with_key(mode="live")


@pytest.fixture
def provider(live: Caller) -> Provider:
    body = {"name": "Postmark", "esp": "postmark", "credentials": {"server_token": TOKEN}}
    return Provider.objects.get(pk=live.post("/v1/providers", body).json()["data"]["id"])


def page(name: str, provider: Provider) -> str:
    return reverse(f"admin:inboxes_provider_{name}", args=[provider.pk])


def add_url(**query: str) -> str:
    return f"{reverse('admin:inboxes_provider_add')}?{'&'.join(f'{name}={value}' for name, value in query.items())}"


class TestForms:
    def test_an_owner_adds_one(self, acme: Account) -> None:
        browser = console(person("ann", acme, "owner"))
        first = browser.post(add_url(), {"account": acme.pk, "esp": "postmark"})
        answer = browser.post(first.url, {"name": "Mine", "credentials.server_token": TOKEN, "concurrency": 8})  # type: ignore[attr-defined]
        assert answer.status_code == 302
        assert Provider.objects.get(account=acme).credentials == {"server_token": TOKEN}
        assert AuditEntry.objects.get(act="provider.created").actor_name == "ann"

    @pytest.mark.parametrize("esp", ESPS)
    def test_it_asks_for_what_the_esp_wants(self, acme: Account, esp: str) -> None:
        browser = console(person("ann", acme, "owner"))
        text = browser.get(add_url(account=acme.pk, esp=esp)).content.decode()
        assert all(f"credentials.{field.name}" in text for field in ESPS[esp].fields)

    def test_it_says_at_the_field_what_is_wrong(self, acme: Account) -> None:
        browser = console(person("ann", acme, "owner"))
        given = {"name": "Mine", "credentials.host": "127.0.0.1", "concurrency": 8}
        answer = browser.post(add_url(account=acme.pk, esp="smtp"), given)
        assert answer.status_code == 400
        assert "credentials.host" in answer.context["form"].errors

    def test_a_secret_is_kept_when_it_is_left_empty_and_never_shown(self, acme: Account, provider: Provider) -> None:
        browser = console(person("ann", acme, "owner"))
        shown = [
            browser.get(url).content.decode() for url in (page_of(provider), page("edit", provider), list_of(provider))
        ]
        assert all(TOKEN not in text for text in shown)
        answer = browser.post(
            page("edit", provider), {"name": "Renamed", "credentials.server_token": "", "concurrency": 8}
        )
        assert answer.status_code == 302
        provider.refresh_from_db()
        assert (provider.name, provider.credentials) == ("Renamed", {"server_token": TOKEN})

    def test_a_fallback_that_is_shared_stays_when_its_owner_saves(self, acme: Account, provider: Provider) -> None:
        shared = Provider.objects.create(name="Everybody's", esp="postmark")
        Provider.objects.filter(pk=provider.pk).update(fallback=shared)
        browser = console(person("ann", acme, "owner"))
        assert "Everybody" not in browser.get(page("edit", provider)).content.decode()
        given = {"name": "Renamed", "credentials.server_token": "", "concurrency": 8, "fallback": ""}
        assert browser.post(page("edit", provider), given).status_code == 302
        provider.refresh_from_db()
        assert (provider.name, provider.fallback_id) == ("Renamed", shared.pk)

    @pytest.mark.parametrize("role", ["operator", "reviewer"])
    def test_only_owners_change_one_and_see_its_webhooks(self, acme: Account, provider: Provider, role: str) -> None:
        browser = console(person("bob", acme, role))
        assert browser.get(page("edit", provider)).status_code in (403, 404)
        assert browser.post(page("edit", provider), {"name": "Mine"}).status_code in (403, 404)
        assert provider.token not in browser.get(page_of(provider)).content.decode()

    def test_it_is_nobody_elses(self, charlie: Caller, provider: Provider) -> None:
        browser = console(person("charlie", charlie.account, "owner"))
        assert {browser.get(page(name, provider)).status_code for name in ("edit", "test")} == {404}

    def test_a_superuser_adds_one_for_all(self, db: None) -> None:
        browser = console(person("root"))
        given = {"name": "Shared", "credentials.host": "10.0.0.5", "credentials.port": "25", "concurrency": 8}
        given |= {"credentials.security": "none"}
        assert browser.post(add_url(account="", esp="smtp"), given).status_code == 302
        assert Provider.objects.get(account=None).name == "Shared"


class TestTestMail:
    def test_an_operator_sends_one(self, acme: Account, live: Caller, provider: Provider) -> None:
        inbox = live.create_inbox()
        browser = console(person("bob", acme, "operator"))
        assert inbox.address in browser.get(page("test", provider)).content.decode()
        answer = browser.post(page("test", provider), {"to": "me@example.com", "inbox": inbox.address})
        assert answer.status_code == 302
        assert OutboundMail.objects.get(inbox=inbox).carrier_id == provider.pk

    def test_it_leaves_from_no_inbox_of_a_stranger(self, acme: Account, charlie: Caller, provider: Provider) -> None:
        theirs = charlie.with_key(mode="live").create_inbox()
        browser = console(person("bob", acme, "operator"))
        assert (
            browser.post(page("test", provider), {"to": "me@example.com", "inbox": theirs.address}).status_code == 400
        )
        assert not OutboundMail.objects.exists()


class TestList:
    def test_it_says_what_to_do_when_there_is_none(self, acme: Account) -> None:
        text: Any = console(person("ann", acme, "owner")).get(reverse("admin:inboxes_provider_changelist"))
        assert "There is no provider yet." in text.content.decode()

    def test_it_asks_as_often_however_many_there_are(self, acme: Account, live: Caller, provider: Provider) -> None:
        browser = console(person("ann", acme, "owner"))
        before = queries_for(browser, list_of(provider))
        for number in range(20):
            body = {"name": f"Number {number}", "esp": "postmark", "credentials": {"server_token": TOKEN}}
            live.post("/v1/providers", body)
        assert queries_for(browser, list_of(provider)) == before


class TestChoice:
    @pytest.mark.parametrize("role", ["owner", "operator", "reviewer"])
    def test_operators_choose_who_carries_the_mail_of_an_inbox(
        self, acme: Account, live: Caller, provider: Provider, role: str
    ) -> None:
        inbox = live.create_inbox()
        url = reverse("admin:inboxes_inbox_provider", args=[inbox.pk])
        answer = console(person("bob", acme, role)).post(url, {"provider": provider.pk})
        assert answer.status_code == (404 if role == "reviewer" else 302)
        inbox.refresh_from_db()
        assert inbox.provider_id == (None if role == "reviewer" else provider.pk)

    def test_it_offers_only_those_of_its_account(
        self, acme: Account, live: Caller, charlie: Caller, provider: Provider
    ) -> None:
        body = {"name": "Theirs", "esp": "postmark", "credentials": {"server_token": TOKEN}}
        theirs = charlie.with_key(mode="live").post("/v1/providers", body).json()["data"]["id"]
        inbox = live.create_inbox()
        url = reverse("admin:inboxes_inbox_provider", args=[inbox.pk])
        answer = console(person("ann", acme, "owner")).post(url, {"provider": theirs})
        assert list(answer.context["form"].errors) == ["provider"]

    def test_one_that_is_shared_stays_when_an_operator_saves(self, acme: Account, live: Caller) -> None:
        shared = Provider.objects.create(name="Everybody's", esp="postmark")
        inbox = live.create_inbox()
        Inbox.objects.filter(pk=inbox.pk).update(provider=shared)
        url, operator = (
            reverse("admin:inboxes_inbox_provider", args=[inbox.pk]),
            console(person("bob", acme, "operator")),
        )
        assert "as whoever runs this server has chosen" in operator.get(url).content.decode()
        assert operator.post(url, {"provider": ""}).status_code == 302
        inbox.refresh_from_db()
        assert inbox.provider_id == shared.pk
