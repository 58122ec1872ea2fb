"""What every test can ask for: the cast, and a way to run the workers."""

import pytest

from inboxes.models import Account
from tests.cast import Caller


@pytest.fixture
def acme(db: None) -> Account:
    return Account.objects.create(name="Acme")


@pytest.fixture
def alice(acme: Account) -> Caller:
    """Owns the inboxes of the test."""
    return Caller(acme, "Alice")


@pytest.fixture
def bob(acme: Account) -> Caller:
    """A team-mate of Alice: the same account, another key."""
    return Caller(acme, "Bob")


@pytest.fixture
def charlie(db: None) -> Caller:
    """A stranger: a key of another account."""
    return Caller(Account.objects.create(name="Elsewhere"), "Charlie")
