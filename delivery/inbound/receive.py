"""Taking mail in: the raw bytes and the envelope become a row, committed, before anybody is told that we have it. The bytes of large mail
are in the object store by then, and the row names them.

SMTP, the webhooks of providers and the sandbox all come through here. What the mail says is read later, by the
worker.
"""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from delivery.fidelity import Fidelity
from delivery.inbound.lanes import lane_of
from delivery.inbound.large import brought_ahead, keep
from delivery.models import InboundMail, RawObject
from inboxes.routing import find_inboxes, still_open
from mailbot.lib import hints, metrics
from mailbot.lib.bulk import bulk_insert, new_row
from mailbot.lib.disk_full import is_disk_full
from mailbot.lib.failpoints import failpoint
from mailbot.lib.ids import new_id
from mailbot.lib.parameters import parameters_apart

log = logging.getLogger(__name__)

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_MAX_DEDUPE_KEY = 100
LARGE = 1024 * 1024  # octets; what is larger is stored and filed by itself, so that others need not wait for it
PROCESS_TASK = "delivery.tasks.process_inbound"


class StorageError(Exception):
    """Nothing of the batch is promised: the sender must keep its mail and try again."""


class StorageFull(StorageError):
    """The database has no room left."""


class Outcome(Enum):
    """STORED is the only one after which a sender may be told that we have the mail."""

    STORED = auto()
    NO_LONGER_HERE = auto()  # every inbox it was addressed to is gone by now: a permanent failure
    UNSTORABLE = auto()  # the database takes other mail but not this one; logged


@dataclass(frozen=True, slots=True)
class InboundRecipient:
    """An inbox that the mail is addressed to: the canonical address without its tag, the tag, and where that led. `told`: what the ESP
    that took it in says of its sender (delivery.esps.told)."""

    address: str
    tag: str
    inbox_id: str
    told: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """One delivery, not stored yet.

    `dedupe_key` names the delivery within its `source`: a second one with the same key counts as stored and changes
    nothing. A provider's webhook uses the provider's id; SMTP has no such thing and leaves it empty.
    """

    source: str
    dedupe_key: str
    envelope_sender: str  # empty for the null sender
    recipients: tuple[InboundRecipient, ...]
    raw: bytes
    remote_addr: str = ""
    helo: str = ""
    tls: bool = False
    fidelity: Fidelity = Fidelity.EXACT
    received_at: datetime = field(default_factory=timezone.now)


def store_inbound_mail(mails: Sequence[ReceivedMail]) -> list[Outcome]:
    """Store these deliveries in one transaction and say for each what became of it. Then ring for the worker.

    Raises StorageFull or another StorageError when the database cannot take anything. One mail that it will not take
    does not hold up the others: they are then stored one by one.
    """
    try:
        with brought_ahead(mails) as cards:
            return _store_or_each([_Arrival(mail, cards.get(number)) for number, mail in enumerate(mails)])
    except (OperationalError, InterfaceError) as error:
        raise (StorageFull if is_disk_full(error) else StorageError)(str(error)) from error


class _Arrival(NamedTuple):
    """A delivery, and the card of its bytes where the store has them."""

    mail: ReceivedMail
    card: RawObject | None


def _store_or_each(arrivals: Sequence[_Arrival]) -> list[Outcome]:
    try:
        return _store(arrivals)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        if len(arrivals) > 1:
            return [outcome for arrival in arrivals for outcome in _store_or_each([arrival])]
        mail = arrivals[0].mail
        log.exception("The database does not take a mail of %d octets by %s", len(mail.raw), mail.source)
        return [Outcome.UNSTORABLE]


def _store(arrivals: Sequence[_Arrival]) -> list[Outcome]:
    addressed = _who_is_here([mail for mail, _ in arrivals])
    rows = [
        _row(mail, card, recipients) for (mail, card), recipients in zip(arrivals, addressed, strict=True) if recipients
    ]
    if rows:
        _insert(rows, {card.pk: card for _, card in arrivals if card})
    failpoint("intake.committed")
    for source, number in Counter(row.source for row in rows).items():
        metrics.note_received(source, number)
    return [Outcome.STORED if recipients else Outcome.NO_LONGER_HERE for recipients in addressed]


def _insert(rows: Sequence[InboundMail], cards: Mapping[str, RawObject]) -> None:
    """All of them or none. A row whose delivery is there already is left out."""
    small = [row for row in rows if row.dedupe_key == row.pk and len(row.raw) <= LARGE]
    others = [row for row in rows if row.dedupe_key != row.pk or len(row.raw) > LARGE]
    named = [row for row in rows if not row.raw_in_row]
    # Ordinary mail is one statement: a transaction around it would be two journeys more, for which its sender waits. Within a caller's
    # transaction a statement that fails must not undo the caller's. SQLite takes a statement for each row.
    is_one = connection.vendor == "postgresql" and not (others or named or connection.in_atomic_block)
    with nullcontext() if is_one else transaction.atomic():
        bulk_insert(small)
        if others:
            with parameters_apart():
                InboundMail.objects.bulk_create(others, ignore_conflicts=True)
        if named:
            keep(named, cards)
        hints.ring_on_commit(PROCESS_TASK)
        failpoint("intake.before-commit")


def _who_is_here(mails: Sequence[ReceivedMail]) -> list[list[InboundRecipient]]:
    """The recipients of each mail that accept mail now. What RCPT was told may be seconds old: an inbox may have been deleted since,
    and another one may have its address."""
    wanted = {recipient.inbox_id for mail in mails for recipient in mail.recipients}
    closed = wanted - still_open(wanted)
    if not closed:
        return [list(mail.recipients) for mail in mails]
    moved = _where_now([recipient for mail in mails for recipient in mail.recipients if recipient.inbox_id in closed])
    return [
        [here for recipient in mail.recipients if (here := moved.get(recipient, recipient)) is not None]
        for mail in mails
    ]


def _where_now(gone: list[InboundRecipient]) -> dict[InboundRecipient, InboundRecipient | None]:
    """Whoever has the addresses of inboxes that are gone; None for an address that nobody has."""
    found = find_inboxes(gone)
    return {
        recipient: replace(recipient, inbox_id=found[recipient.address].inbox_id)
        if recipient.address in found
        else None
        for recipient in gone
    }


def _row(mail: ReceivedMail, card: RawObject | None, recipients: list[InboundRecipient]) -> InboundMail:
    row_id = card.pk if card else new_id("inmail")
    return new_row(
        InboundMail,
        id=row_id,
        source=mail.source,
        dedupe_key=_dedupe_key(mail.dedupe_key) or row_id,
        envelope_sender=storable(mail.envelope_sender),
        recipients=[_as_json(recipient) for recipient in recipients],
        remote_addr=storable(mail.remote_addr)[:45],
        helo=storable(mail.helo)[:255],
        tls=mail.tls,
        fidelity=mail.fidelity.value,
        raw=b"" if card else mail.raw,
        raw_in_row=card is None,
        size=len(mail.raw),
        sha256=card.sha256 if card else hashlib.sha256(mail.raw).hexdigest(),
        lane=lane_of(recipients[0].inbox_id),
        received_at=mail.received_at,
    )


def _as_json(recipient: InboundRecipient) -> dict[str, Any]:
    to = {"address": storable(recipient.address), "tag": storable(recipient.tag), "inbox_id": recipient.inbox_id}
    return {**to, "told": dict(recipient.told)} if recipient.told else to


def _dedupe_key(key: str) -> str:
    clean = storable(key)
    return clean if len(clean) <= _MAX_DEDUPE_KEY else hashlib.sha256(clean.encode()).hexdigest()


def storable(text: str) -> str:
    """`text` without what PostgreSQL refuses: NUL and lone surrogates become U+FFFD."""
    return text if text.isprintable() else _UNSTORABLE.sub("\ufffd", text)
