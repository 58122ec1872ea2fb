from datetime import timedelta

import pytest
from django.utils import timezone

from inboxes.models import Account, Inbox
from inboxes.routing import RoutedInbox, find_inboxes
from mailbot.lib.addresses import canonical
from tests.mailing import inbox_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def account():
    return Account.objects.create(name="Alice's")


def inbox_at(account, address, **fields):
    local_part, _, domain = address.partition("@")
    return Inbox.objects.create(
        account=account, mode="test", address=address, local_part=local_part, domain=domain, **fields
    )


class TestFindInboxes:
    def test_it_answers_for_all_in_one_query(self, account, django_assert_num_queries):
        first, second = (inbox_at(account, f"{name}@mailbot.localhost") for name in ("a", "b"))
        wanted = [canonical(text) for text in ("A+tag@mailbot.localhost", "b@mailbot.localhost", "c@mailbot.localhost")]
        with django_assert_num_queries(1):
            found = find_inboxes(wanted)
        assert found == {
            inbox.address: RoutedInbox(inbox.pk, account.pk, inbox.address, "test") for inbox in (first, second)
        }

    def test_it_asks_nothing_for_no_address(self, django_assert_num_queries):
        with django_assert_num_queries(0):
            assert find_inboxes([]) == {}

    @pytest.mark.parametrize("address", ["support@mailbot.localhost", "<Support+EU@Mailbot.LOCALHOST>"])
    def test_it_takes_any_spelling(self, account, address):
        inbox = inbox_at(account, "support@mailbot.localhost")
        found = inbox_for(address)
        assert found is not None
        assert found.inbox_id == inbox.pk

    @pytest.mark.parametrize("address", ["other@mailbot.localhost", "support@example.com"])
    def test_it_finds_nothing_where_there_is_no_inbox(self, account, address):
        inbox_at(account, "support@mailbot.localhost")
        assert inbox_for(address) is None

    def test_it_finds_paused_but_neither_deleted_nor_expired_inboxes(self, account):
        soon, past = timezone.now() + timedelta(hours=1), timezone.now() - timedelta(seconds=1)
        inbox_at(account, "paused@mailbot.localhost", status="paused", expires_at=soon)
        inbox_at(account, "deleted@mailbot.localhost", status="deleted")
        inbox_at(account, "expired@mailbot.localhost", expires_at=past)
        found = [inbox_for(f"{name}@mailbot.localhost") for name in ("paused", "deleted", "expired")]
        assert [inbox is not None for inbox in found] == [True, False, False]

    def test_it_finds_the_living_one_where_a_deleted_one_had_the_address(self, account):
        inbox_at(account, "again@mailbot.localhost", status="deleted")
        living = inbox_at(account, "again@mailbot.localhost")
        found = inbox_for("again@mailbot.localhost")
        assert found is not None
        assert found.inbox_id == living.pk
