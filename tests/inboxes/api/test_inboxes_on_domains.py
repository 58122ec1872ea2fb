"""POST /v1/inboxes on a domain of the account, and with a subdomain of its own."""

from typing import Any

import pytest

from tests.cast import Caller
from tests.dns_zone import PublishedZone, add_domain, verified_domain
from tests.mailing import deliver, inbox_for, mail


def refusal(caller: Caller, **body: Any) -> str:
    answer = caller.post("/v1/inboxes", body)
    assert answer.status_code == 400, answer.content
    return str(next(iter(answer.json()["error"]["fields"].values()))[0])


class TestOnDomain:
    def test_it_gets_an_address_there_and_mail_by_it(self, alice: Caller, dns: PublishedZone) -> None:
        verified_domain(alice, dns)
        inbox = alice.create_inbox(username="support", domain="Shop.Example")
        assert inbox.address == "support@shop.example"
        deliver(mail(), "Support+eu@shop.example")
        assert len(alice.messages(inbox)) == 1

    @pytest.mark.parametrize("mode", ["test", "live"])
    def test_it_may_be_of_either_mode(self, alice: Caller, dns: PublishedZone, mode: str) -> None:
        verified_domain(alice, dns)
        assert alice.with_key(mode=mode).create_inbox(domain="shop.example").domain == "shop.example"

    def test_names_that_are_reserved_elsewhere_are_the_owners(self, alice: Caller, dns: PublishedZone) -> None:
        verified_domain(alice, dns)
        assert alice.create_inbox(username="postmaster", domain="shop.example").local_part == "postmaster"
        assert "reserved" in refusal(alice, username="postmaster")

    def test_it_says_what_to_do_for_one_that_is_unknown_or_pending(self, alice: Caller, dns: PublishedZone) -> None:
        assert "POST /v1/domains" in refusal(alice, domain="shop.example")
        domain = add_domain(alice)
        told = refusal(alice, domain="shop.example")
        assert "_mailbot.shop.example" in told
        assert f"/v1/domains/{domain['id']}/verify" in told

    def test_it_says_the_same_of_a_strangers_as_of_none(
        self, alice: Caller, charlie: Caller, dns: PublishedZone
    ) -> None:
        verified_domain(charlie, dns)
        assert refusal(alice, domain="shop.example") == refusal(alice, domain="other.example").replace("other", "shop")

    def test_a_taken_address_has_suggestions_there(self, alice: Caller, dns: PublishedZone) -> None:
        verified_domain(alice, dns)
        alice.create_inbox(username="support", domain="shop.example")
        answer = alice.post("/v1/inboxes", {"username": "support", "domain": "shop.example"})
        assert answer.status_code == 409
        assert "support-2@shop.example" in answer.json()["error"]["suggestions"]

    def test_bounces_come_back_by_the_return_path_host(self, alice: Caller, dns: PublishedZone) -> None:
        verified_domain(alice, dns)
        inbox = alice.create_inbox(username="support", domain="shop.example")
        found = inbox_for("support+token@bounces.shop.example")
        assert found is not None
        assert found.inbox_id == inbox.pk
        assert inbox_for("nobody@bounces.shop.example") is None


class TestSubdomains:
    def test_each_inbox_gets_one_where_the_domain_is_set_so(self, alice: Caller, dns: PublishedZone) -> None:
        verified_domain(alice, dns, inbox_subdomains=True)
        inbox = alice.create_inbox(username="support", domain="shop.example")
        assert inbox.address == "support@support.shop.example"
        assert inbox.domain == "support.shop.example"
        deliver(mail(), inbox)
        assert len(alice.messages(inbox)) == 1
        random = alice.create_inbox(domain="shop.example")
        assert random.address == f"{random.local_part}@{random.local_part}.shop.example"

    def test_one_inbox_may_be_otherwise(self, alice: Caller, dns: PublishedZone) -> None:
        verified_domain(alice, dns, inbox_subdomains=True)
        plain = alice.create_inbox(username="support", domain="shop.example", own_subdomain=False)
        assert plain.address == "support@shop.example"

    def test_one_inbox_may_have_one_on_a_plain_domain(self, alice: Caller, dns: PublishedZone) -> None:
        verified_domain(alice, dns)
        inbox = alice.create_inbox(username="support", domain="shop.example", own_subdomain=True)
        assert inbox.address == "support@support.shop.example"

    def test_its_own_name_may_be_given(self, alice: Caller, dns: PublishedZone) -> None:
        verified_domain(alice, dns, inbox_subdomains=True)
        inbox = alice.create_inbox(username="support", domain="support.shop.example")
        assert inbox.address == "support@support.shop.example"
        assert "alone" in refusal(alice, username="billing", domain="support.shop.example")

    def test_it_must_be_a_name_that_dns_can_hold(self, alice: Caller, dns: PublishedZone) -> None:
        verified_domain(alice, dns, inbox_subdomains=True)
        assert "letters" in refusal(alice, username="john.doe", domain="shop.example")

    def test_the_servers_own_domain_has_none(self, alice: Caller) -> None:
        assert "of your own" in refusal(alice, own_subdomain=True)

    def test_a_subdomain_that_another_account_has_proven_stays_its_own(
        self, alice: Caller, charlie: Caller, dns: PublishedZone
    ) -> None:
        verified_domain(alice, dns, inbox_subdomains=True)
        verified_domain(charlie, dns, "support.shop.example")
        assert "somebody else" in refusal(alice, username="support", domain="shop.example")
