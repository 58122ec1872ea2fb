"""Domains in the console: added, verified, changed and deleted, and what is said of broken ones."""

from typing import Any

import pytest

from audit.models import AuditEntry
from inboxes.models import Account, Domain, DomainKey, Provider
from tests.cast import Caller
from tests.console import act, console, list_of, page_of, person, queries_for
from tests.dns_zone import PublishedZone, add_domain, verified_domain, verify

ADD = "/admin/inboxes/domain/add/"


@pytest.fixture
def owner(acme: Account) -> Any:
    return console(person("olga", acme, "owner"))


@pytest.fixture
def operator(acme: Account) -> Any:
    return console(person("oscar", acme))


class TestAdding:
    def test_it_shows_next_what_to_publish(self, acme: Account, owner: Any) -> None:
        answer = owner.post(ADD, {"account": acme.pk, "domain": "Shop.example", "inbox_subdomains": "on"})
        domain = Domain.objects.get()
        assert answer.url == page_of(domain)
        assert (domain.domain, domain.inbox_subdomains) == ("shop.example", True)
        page = owner.get(page_of(domain)).content.decode()
        assert domain.token in page
        assert "*.shop.example" in page
        assert "Publish the TXT record at _mailbot.shop.example" in page
        entry = AuditEntry.objects.get(object_pk=domain.pk, act="domain.created")
        assert entry.actor_name == "olga"

    def test_it_says_why_one_cannot_be_added(self, acme: Account, owner: Any) -> None:
        answer = owner.post(ADD, {"account": acme.pk, "domain": "mailbot.localhost"})
        assert answer.status_code == 400
        assert "own, where everybody may have inboxes" in answer.content.decode()


class TestPage:
    def test_it_never_shows_a_private_key(self, alice: Caller, owner: Any) -> None:
        domain = Domain.objects.get(pk=add_domain(alice)["id"])
        page = owner.get(page_of(domain)).content.decode()
        key = DomainKey.objects.get()
        assert key.public in page
        assert key.sealed not in page
        assert "PRIVATE" not in page

    def test_it_verifies_and_shows_what_was_found(self, alice: Caller, operator: Any, dns: PublishedZone) -> None:
        added = add_domain(alice)
        domain = Domain.objects.get(pk=added["id"])
        dns.publish(added["dns_records"])
        dns.text("shop.example", "v=spf1 include:other.example <b>-all")
        answer = act(operator, "verify_domains", domain)
        assert answer.url == page_of(domain)
        page = operator.get(page_of(domain)).content.decode()
        assert "v=spf1 include:other.example &lt;b&gt;-all" in page
        assert "does not name a:mailbot.localhost" in page
        assert Domain.objects.get().status == "verified"

    def test_it_warns_of_what_broke(self, alice: Caller, owner: Any, dns: PublishedZone) -> None:
        domain = verified_domain(alice, dns)
        inbox = alice.create_inbox(domain="shop.example")
        row = Domain.objects.get()
        assert "Domains with broken records" not in owner.get("/admin/").content.decode()
        dns.put("shop.example", "MX")
        verify(alice, domain)
        assert "Records that were right are not any more" in owner.get(page_of(row)).content.decode()
        assert "Domains with broken records" in owner.get("/admin/").content.decode()
        assert "are missing or wrong" in owner.get(page_of(inbox)).content.decode()

    def test_it_gives_the_zone_file(self, alice: Caller, operator: Any) -> None:
        domain = add_domain(alice)
        answer = operator.get(f"/admin/inboxes/domain/{domain['id']}/zone/")
        assert answer.content == alice.get(f"/v1/domains/{domain['id']}/zone-file").content

    def test_owners_change_it(self, alice: Caller, owner: Any, operator: Any) -> None:
        domain = Domain.objects.get(pk=add_domain(alice)["id"])
        page = f"/admin/inboxes/domain/{domain.pk}/edit/"
        assert operator.get(page).status_code == 404
        assert owner.get(page).status_code == 200
        assert owner.post(page, {"inbox_subdomains": "on"}).url == page_of(domain)
        assert Domain.objects.get().inbox_subdomains

    def test_a_provider_that_is_shared_stays_when_its_owner_saves(self, alice: Caller, owner: Any) -> None:
        domain = Domain.objects.get(pk=add_domain(alice)["id"])
        shared = Provider.objects.create(name="Everybody's", esp="postmark")
        Domain.objects.update(provider=shared)
        page = f"/admin/inboxes/domain/{domain.pk}/edit/"
        assert "Everybody" not in owner.get(page).content.decode()
        assert owner.post(page, {"inbox_subdomains": "on", "provider": ""}).status_code == 302
        domain.refresh_from_db()
        assert (domain.inbox_subdomains, domain.provider_id) == (True, shared.pk)


class TestActs:
    def test_one_with_inboxes_is_not_deleted(self, alice: Caller, owner: Any, dns: PublishedZone) -> None:
        verified_domain(alice, dns)
        alice.create_inbox(domain="shop.example")
        answer = act(owner, "delete_domains", Domain.objects.get(), reason="because")
        assert "1 active inbox is on shop.example" in owner.get(answer.url).content.decode()
        assert Domain.objects.exists()

    def test_a_new_key_waits_to_be_published(self, alice: Caller, owner: Any, dns: PublishedZone) -> None:
        verified_domain(alice, dns)
        act(owner, "rotate_keys", Domain.objects.get(), reason="")
        assert [key.state for key in DomainKey.objects.all()] == ["active", "next"]


def test_its_list_asks_as_many_however_long_it_is(alice: Caller, owner: Any) -> None:
    domain = Domain.objects.get(pk=add_domain(alice)["id"])
    few = queries_for(owner, list_of(domain))
    for number in range(10):
        add_domain(alice, f"shop-{number}.example")
    assert queries_for(owner, list_of(domain)) == few
