"""Which inbox an address leads to. RCPT, the webhooks of providers and the sandbox all ask here, and only here."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from django.db import connection

from inboxes.models import ACCEPTS_MAIL, Inbox, moment
from mailbot.lib.addresses import AddressError, canonical


class Addressed(Protocol):
    """Whatever has a canonical address without tag."""

    @property
    def address(self) -> str: ...


@dataclass(frozen=True, slots=True)
class RoutedInbox:
    """An inbox that accepts mail now. `mode` is one of `inboxes.models.Mode`."""

    inbox_id: str
    account_id: str
    address: str
    mode: str


def find_inboxes(addresses: Iterable[Addressed]) -> dict[str, RoutedInbox]:
    """The inboxes that accept mail for these addresses, by canonical address without tag, in one query.

    An address that leads nowhere (unknown, deleted, expired, of another domain) is absent: all are the same to a
    stranger, who must not learn which addresses once existed.
    """
    wanted = {address.address for address in addresses}
    if not wanted:
        return {}
    found = Inbox.objects.accepting_mail().filter(address__in=wanted)
    columns = found.order_by().values_list("pk", "account_id", "address", "mode")
    return {address: RoutedInbox(pk, account_id, address, mode) for pk, account_id, address, mode in columns}


def still_open(inbox_ids: Collection[str]) -> set[str]:
    """Which of these inboxes accept mail now."""
    if not inbox_ids:
        return set()
    places = ", ".join(["%s"] * len(inbox_ids))
    with connection.cursor() as cursor:
        statement = f"SELECT id FROM inboxes_inbox WHERE {ACCEPTS_MAIL} AND id IN ({places})"  # noqa: S608 (our own text)
        cursor.execute(statement, [moment(), *inbox_ids])
        return {inbox_id for (inbox_id,) in cursor.fetchall()}


def find_inbox(address: str) -> RoutedInbox | None:
    """The inbox that accepts mail for `address`, in any spelling; None when there is none, or it is no address."""
    try:
        wanted = canonical(address)
    except AddressError:
        return None
    return find_inboxes([wanted]).get(wanted.address)
