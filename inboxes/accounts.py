"""Finding an account by what people call it at the command line."""

from django.db.models import Q

from inboxes.models import Account


class NoSuchAccount(LookupError):
    """There is none, or there are several."""


def account_named(name: str) -> Account:
    """By name or id. Raises NoSuchAccount."""
    found = list(Account.objects.filter(Q(name=name) | Q(pk=name))[:2])
    if len(found) == 1:
        return found[0]
    raise NoSuchAccount(
        f"Several accounts are named {name}: give the id of one." if found else f"There is no account {name}."
    )
