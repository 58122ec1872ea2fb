"""Which inbox an address leads to. RCPT, the webhooks of providers and the sandbox all ask here, and only here."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import connection
from django.utils import timezone

from inboxes.dns_records import RETURN_PATH_LABEL
from mailbot.lib.bulk import places

# Not deleted and not past its end. A paused inbox still receives.
ACCEPTS_MAIL = "inbox.status <> 'deleted' AND (inbox.expires_at IS NULL OR inbox.expires_at > %s)"
INBOX = "inboxes_inbox inbox"
WITH_ACCOUNT = f"{INBOX} JOIN inboxes_account account ON account.id = inbox.account_id"


class Addressed(Protocol):
    """Whatever has a canonical address without tag."""

    @property
    def address(self) -> str: ...


@dataclass(frozen=True, slots=True)
class RoutedInbox:
    """An inbox that accepts mail now, unless its account `is_full` (inboxes.quotas). `mode` is one of `inboxes.models.Mode`."""

    inbox_id: str
    account_id: str
    address: str
    mode: str
    is_full: bool = False


def find_inboxes(addresses: Iterable[Addressed]) -> dict[str, RoutedInbox]:
    """The inboxes that accept mail for these addresses, by canonical address without tag, in one query.

    What is addressed to the return-path host of a domain is for the same local part at the domain.

    An address that leads nowhere (unknown, deleted, expired, of another domain) is absent: all are the same to a
    stranger, who must not learn which addresses once existed.
    """
    wanted = {address.address for address in addresses}
    if not wanted:
        return {}
    behind = {address: at_domain for address in wanted if (at_domain := _behind_return_path(address))}
    columns = "inbox.id, inbox.account_id, inbox.address, inbox.mode, account.is_full"
    rows = _accepting(columns, WITH_ACCOUNT, "inbox.address", wanted | set(behind.values()))
    found = {address: RoutedInbox(pk, account, address, mode, bool(full)) for pk, account, address, mode, full in rows}
    by_return_path = {address: found[at_domain] for address, at_domain in behind.items() if at_domain in found}
    return by_return_path | {address: inbox for address, inbox in found.items() if address in wanted}


def _behind_return_path(address: str) -> str:
    """`ann@shop.example` of `ann@bounces.shop.example`; empty for all others."""
    local_part, _, domain = address.rpartition("@")
    label, _, rest = domain.partition(".")
    return f"{local_part}@{rest}" if label == RETURN_PATH_LABEL and rest else ""


def still_open(inbox_ids: Collection[str]) -> set[str]:
    """Which of these inboxes accept mail now. A quota that ran out since RCPT takes back no promise."""
    return {pk for (pk,) in _accepting("inbox.id", INBOX, "inbox.id", inbox_ids)} if inbox_ids else set()


def _accepting(columns: str, tables: str, column: str, values: Collection[str]) -> list[Any]:
    """In SQL: it is asked twice for each batch of mail, and the ORM takes longer to write it than the database to answer."""
    statement = f"SELECT {columns} FROM {tables} WHERE {ACCEPTS_MAIL} AND {column} IN {places(len(values))}"  # noqa: S608 (our own text)
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(statement, [now, *values])
        return list(cursor.fetchall())
