"""Counting what becomes of each recipient into the sending record, in the transaction in which it is written.

What of a recipient is counted already stands in its row: late, doubled or disordered news count nothing twice. News that prove more than
they say count for all that: what was delivered was sent.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import IntFlag, auto

from django.utils import timezone

from delivery.models import OutboundMail, Recipient
from delivery.outbound.bounce_kind import is_hard
from delivery.outbound.breaker import judge
from delivery.outbound.outcomes import Report
from inboxes.models import Inbox
from inboxes.sending_record import Tally, add_to_record, row_start
from threads.models import Message

Status = Message.Status


class Counted(IntFlag):
    """Named as the columns of the record are, in capitals."""

    SENT = auto()
    DELIVERED = auto()
    DEFERRED = auto()
    BOUNCED = auto()
    COMPLAINED = auto()


BAD = Counted.BOUNCED | Counted.COMPLAINED
PROVES: dict[str, Counted] = {
    Status.SENT: Counted.SENT,
    Status.DELIVERED: Counted.SENT | Counted.DELIVERED,
    Status.BOUNCED: Counted.SENT | Counted.BOUNCED,
    Status.COMPLAINED: Counted.SENT | Counted.DELIVERED | Counted.COMPLAINED,
}


def count_anew(recipient: Recipient, report: Report) -> Counted:
    """What is known by this report and was not before. Called once the recipient's status is set, before he is stored: `counted` is
    stored with it."""
    before = Counted(recipient.counted)
    new = _proven(recipient, report, before) & ~before
    recipient.counted = (before | new).value
    return new


def add_to_records(counted: Collection[tuple[OutboundMail, Counted]], inboxes: Mapping[str, Inbox]) -> None:
    """Add it up. `inboxes` are these mails' by id, as they are under their locks. An inbox whose record became too bad trips."""
    if not counted:
        return
    now = timezone.now()
    tallies: dict[tuple[str, datetime, str], Tally] = {}
    for mail, new in counted:
        _add(_tally_of(mail, inboxes[mail.inbox_id], now, tallies), new)
    add_to_record([tallies[key] for key in sorted(tallies)])
    for inbox_id in sorted({mail.inbox_id for mail, new in counted if new & BAD}):
        judge(inboxes[inbox_id])


def _proven(recipient: Recipient, report: Report, before: Counted) -> Counted:
    if recipient.status == Status.DEFERRED:  # by a server of others, or still by us
        return Counted.DEFERRED if Counted.SENT in before else Counted(0)
    proven = PROVES.get(recipient.status, Counted(0))
    return proven if is_hard(report) else proven & ~Counted.BOUNCED


def _tally_of(
    mail: OutboundMail, inbox: Inbox, now: datetime, tallies: dict[tuple[str, datetime, str], Tally]
) -> Tally:
    starts_at = row_start(now, inbox.record_from, mail.finished_at)
    provider_id = mail.carrier_id or ""
    key = (mail.inbox_id, starts_at, provider_id)
    return tallies.setdefault(key, Tally(mail.account_id, mail.inbox_id, provider_id, starts_at))


def _add(tally: Tally, new: Counted) -> None:
    for one in new:
        column = str(one.name).lower()
        setattr(tally, column, getattr(tally, column) + 1)
