"""Recipients who get no more mail: left out of a mail that goes on to the others."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction

from delivery.models import OutboundMail, Suppression
from delivery.outbound.outcomes import Report
from delivery.outbound.states import State
from delivery.outbound.tracking import apply_reports
from delivery.suppression_lookup import find_suppressed
from inboxes.models import Inbox
from threads.events import EventType
from threads.models import Message

REASON = "suppressed"


def suppressed_in(mails: Iterable[OutboundMail]) -> dict[str, dict[str, Suppression]]:
    """By mail id, the entries for those of its recipients who may not get it; in one query for all. A mail without any is absent."""
    wanted: dict[Inbox, set[str]] = {}
    taken = [(mail, {recipient.address for recipient in mail.remaining()}) for mail in mails]
    for mail, addresses in taken:
        wanted.setdefault(mail.inbox, set()).update(addresses)
    found = find_suppressed(wanted) if wanted else {}
    theirs = {mail.pk: _of(found.get(mail.inbox_id, {}), addresses) for mail, addresses in taken}
    return {pk: entries for pk, entries in theirs.items() if entries}


def _of(found: Mapping[str, Suppression], addresses: Iterable[str]) -> dict[str, Suppression]:
    return {address: found[address] for address in addresses if address in found}


def leave_out(mail: OutboundMail, suppressed: Mapping[str, Suppression]) -> bool:
    """Block these recipients of a mail that is claimed, and hand it to the others; False when the lease is another's by now.

    `mail` itself has them no more: what is handed over and written of it is about the others.
    """
    with transaction.atomic():
        ours = OutboundMail.objects.select_for_update(no_key=True)
        if not ours.filter(pk=mail.pk, state=State.SENDING, lease_token=mail.lease_token).exists():
            return False
        apply_reports(mail, blocked_reports(suppressed))
    for recipient in mail.recipients.all():  # those that were read with it
        if recipient.address in suppressed:
            recipient.status = Message.Status.BLOCKED
    return True


def blocked_reports(suppressed: Mapping[str, Suppression]) -> list[Report]:
    return [
        Report(EventType.MESSAGE_BLOCKED, address, reason_of(entry), data={"suppression_id": entry.pk})
        for address, entry in suppressed.items()
    ]


def reason_of(entry: Suppression) -> str:
    """What a recipient who is left out shows: `suppressed: hard_bounce`."""
    return f"{REASON}: {entry.cause}"


def suppressed_detail(suppressed: Mapping[str, Suppression]) -> str:
    return f"{REASON}: {', '.join(suppressed)}"


def told(suppressed: Mapping[str, Suppression], order: Sequence[str]) -> list[dict[str, Any]]:
    """For the answer to who sends: each recipient and why."""
    return [
        {
            "address": address,
            "suppression_id": entry.pk,
            "scope": entry.scope.value,
            "cause": entry.cause,
            "reason": entry.reason,
            "expires_at": entry.expires_at,
        }
        for address in order
        if (entry := suppressed.get(address))
    ]
