"""Taking mail in: the raw bytes and the envelope become a row, committed, before anybody is told that we have it.

SMTP, the webhooks of providers and the sandbox all come through here. What the mail says is read later, by the
worker.
"""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from delivery.fidelity import Fidelity
from delivery.inbound.lanes import lane_of
from delivery.models import InboundMail
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
        return _store(mails)
    except (OperationalError, InterfaceError) as error:
        raise (StorageFull if is_disk_full(error) else StorageError)(str(error)) from error
    except Exception:
        if len(mails) > 1:
            return [outcome for mail in mails for outcome in store_inbound_mail([mail])]
        log.exception("The database does not take a mail of %d octets by %s", len(mails[0].raw), mails[0].source)
        return [Outcome.UNSTORABLE]


def _store(mails: Sequence[ReceivedMail]) -> list[Outcome]:
    with transaction.atomic():
        addressed = _who_is_here(mails)
        rows = [_row(mail, recipients) for mail, recipients in zip(mails, addressed, strict=True) if recipients]
        bulk_insert([row for row in rows if row.dedupe_key == row.pk and row.size <= LARGE])
        if others := [row for row in rows if row.dedupe_key != row.pk or row.size > LARGE]:
            with parameters_apart():
                InboundMail.objects.bulk_create(others, ignore_conflicts=True)
        if rows:
            hints.ring_on_commit(PROCESS_TASK)
        failpoint("intake.before-commit")
    failpoint("intake.committed")
    for source, number in Counter(row.source for row in rows).items():
        metrics.note_received(source, number)
    return [Outcome.STORED if recipients else Outcome.NO_LONGER_HERE for recipients in addressed]


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


def _row(mail: ReceivedMail, recipients: list[InboundRecipient]) -> InboundMail:
    row_id = new_id("inmail")
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
        raw=mail.raw,
        size=len(mail.raw),
        sha256=hashlib.sha256(mail.raw).hexdigest(),
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
