"""Which provider carries the mail of an inbox: the nearest choice."""

import pytest

from delivery.outbound.choosing import provider_for, providers_for
from inboxes.models import Account, Domain, Inbox, Provider
from tests.cast import Caller
from tests.dns_zone import PublishedZone, verified_domain


def a_provider(account: Account | None, *, is_default: bool = False) -> Provider:
    provider = Provider(account=account, name="A provider", esp="postmark", is_default=is_default)
    provider.credentials = {"server_token": "secret"}
    provider.save()
    return provider


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox()


class TestProviderFor:
    def test_it_leaves_mail_to_the_servers_own_backend_where_nothing_is_chosen(
        self, alice: Caller, inbox: Inbox
    ) -> None:
        a_provider(alice.account)
        assert provider_for(inbox) is None

    def test_it_takes_the_nearest_choice(self, alice: Caller, inbox: Inbox) -> None:
        shared = a_provider(None, is_default=True)
        assert provider_for(inbox) == shared
        default = a_provider(alice.account, is_default=True)
        assert provider_for(inbox) == default
        inbox.provider = a_provider(None)
        assert provider_for(inbox) == inbox.provider

    def test_the_choice_of_its_domain_comes_before_the_accounts(
        self, alice: Caller, dns: PublishedZone, django_assert_num_queries
    ) -> None:
        domain = Domain.objects.get(pk=verified_domain(alice, dns)["id"])
        inbox = alice.create_inbox(domain="shop.example")
        default = a_provider(alice.account, is_default=True)
        assert provider_for(inbox) == default
        domain.provider = a_provider(alice.account)
        domain.save()
        with django_assert_num_queries(2):
            assert provider_for(inbox) == domain.provider
        inbox.provider = a_provider(alice.account)
        assert provider_for(inbox) == inbox.provider

    def test_it_keeps_to_a_choice_that_is_paused(self, alice: Caller, inbox: Inbox) -> None:
        default = a_provider(alice.account, is_default=True)
        Provider.objects.filter(pk=default.pk).update(is_paused=True)
        assert provider_for(inbox) == default

    def test_it_never_takes_a_strangers(self, charlie: Caller, inbox: Inbox) -> None:
        a_provider(charlie.account, is_default=True)
        inbox.provider = a_provider(charlie.account)
        assert provider_for(inbox) is None

    def test_it_asks_once_for_many(
        self, alice: Caller, charlie: Caller, inbox: Inbox, django_assert_num_queries
    ) -> None:
        theirs, default = charlie.create_inbox(), a_provider(alice.account, is_default=True)
        with django_assert_num_queries(1):
            assert providers_for([inbox, theirs]) == {inbox.pk: default, theirs.pk: None}
