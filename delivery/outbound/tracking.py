"""What is heard of a mail after it was handed over. A recipient's status only moves forward, however late or often news come."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from delivery.models import OutboundMail, Recipient
from delivery.outbound.outcomes import Report
from delivery.outbound.reputation import Counted, add_to_records, count_anew
from delivery.suppression_reports import suppress_reported
from inboxes.models import Inbox
from mailbot.lib.bulk import bulk_set, new_row
from threads.events import EventType, News, record_events
from threads.models import Message
from threads.wakeups import wake_on_commit

Status = Message.Status
_ON_THE_WAY = frozenset({Status.SCHEDULED, Status.AWAITING_APPROVAL, Status.QUEUED, Status.SENDING, Status.UNKNOWN})
# Which statuses of a recipient each one may follow: what is heard late or twice never takes a recipient back. Deferred and sent
# follow each other, because a mail that was put off by us is sent later, and one that was sent is put off by others.
FOLLOWS: dict[str, frozenset[str]] = {
    Status.UNKNOWN: _ON_THE_WAY | {Status.DEFERRED},
    Status.BLOCKED: _ON_THE_WAY | {Status.DEFERRED},
    Status.CANCELLED: _ON_THE_WAY | {Status.DEFERRED},
    Status.SENT: _ON_THE_WAY | {Status.DEFERRED},
    Status.DEFERRED: _ON_THE_WAY | {Status.SENT},
    Status.FAILED: _ON_THE_WAY | {Status.DEFERRED, Status.SENT},
    Status.DELIVERED: _ON_THE_WAY | {Status.DEFERRED, Status.SENT, Status.FAILED},
    Status.BOUNCED: _ON_THE_WAY | {Status.DEFERRED, Status.SENT, Status.FAILED, Status.DELIVERED},
    Status.COMPLAINED: frozenset(Status) - {Status.COMPLAINED},
}
# A message with several recipients shows what most needs to be seen: the last of these that one of them has.
SHOWN_FIRST_TO_LAST = (
    *(Status.SCHEDULED, Status.AWAITING_APPROVAL, Status.QUEUED, Status.SENDING, Status.SENT, Status.DELIVERED),
    *(
        Status.DEFERRED,
        Status.UNKNOWN,
        Status.CANCELLED,
        Status.BLOCKED,
        Status.FAILED,
        Status.BOUNCED,
        Status.COMPLAINED,
    ),
)
STATUS_OF: dict[EventType, str] = {
    EventType.MESSAGE_SENT: Status.SENT,
    EventType.MESSAGE_DELIVERED: Status.DELIVERED,
    EventType.MESSAGE_DEFERRED: Status.DEFERRED,
    EventType.MESSAGE_BOUNCED: Status.BOUNCED,
    EventType.MESSAGE_COMPLAINED: Status.COMPLAINED,
    EventType.MESSAGE_FAILED: Status.FAILED,
    EventType.MESSAGE_BLOCKED: Status.BLOCKED,
    EventType.MESSAGE_UNKNOWN: Status.UNKNOWN,
    EventType.MESSAGE_CANCELLED: Status.CANCELLED,
}


class Told(NamedTuple):
    """A report that was applied. `recipient` None: the mail did not go there."""

    mail: OutboundMail
    report: Report
    recipient: Recipient | None
    counted: Counted  # what is known of him now and was not before


class Moves:
    """Reports on some mails, applied one after the other and written at once, in the caller's transaction.

    From the beginning on the inboxes are locked: two reports on one message would otherwise each write what they read before the other's.
    Whoever locks rows of OutboundMail too has done that before.
    """

    def __init__(self, mails: Iterable[OutboundMail]) -> None:
        self._mails = {mail.pk: mail for mail in mails}
        self._inbox_ids = {mail.inbox_id for mail in self._mails.values()}
        self._recipients: dict[str, list[Recipient]] = defaultdict(list)
        self._moved: dict[str, Recipient] = {}
        self._told: list[Told] = []
        self._inboxes = lock_inboxes(self._inbox_ids)
        for recipient in Recipient.objects.filter(mail_id__in=self._mails).order_by("pk"):
            self._recipients[recipient.mail_id].append(recipient)

    def recipients_of(self, mail: OutboundMail) -> list[Recipient]:
        """As they are after what was applied so far."""
        return self._recipients[mail.pk]

    def apply(self, mail: OutboundMail, report: Report) -> None:
        """An event it is in any case; the recipient that it names moves forward, if that is forward."""
        recipient = next((r for r in self._recipients[mail.pk] if r.address == report.recipient), None)
        counted = Counted(0)
        if recipient and _moved_forward(recipient, report):
            counted = count_anew(recipient, report)
            self._moved[recipient.pk] = recipient
        self._told.append(Told(mail, report, recipient, counted))

    def write(self) -> None:
        bulk_set(list(self._moved.values()), "status", "reason", "counted", "updated_at")
        record_events(news_of(told.mail, told.report) for told in self._told)
        self._show_on_messages({told.mail.pk for told in self._told if told.report.event in STATUS_OF})
        tell_others(self._told, self._inboxes)
        wake_on_commit(self._inbox_ids)

    def _show_on_messages(self, mail_ids: Collection[str]) -> None:
        messages = []
        for pk in sorted(mail_ids):
            shown, status = _shown_of(self._recipients[pk])
            messages.append(new_row(Message, id=self._mails[pk].message_id, recipients=shown, status=status.value))
        bulk_set(messages, "recipients", "status")


def tell_others(told: Sequence[Told], inboxes: Mapping[str, Inbox]) -> None:
    """Whatever is heard of recipients, from us or from a provider, comes by here once: in the transaction in which it is written, behind
    that, and with the inboxes locked. Who has to know of it is called from here, with all of it, and asks the database by the batch."""
    add_to_records([(each.mail, each.counted) for each in told if each.counted], inboxes)
    suppress_reported([(each.mail, each.report) for each in told if each.recipient])


def apply_reports(mail: OutboundMail, reports: Iterable[Report]) -> None:
    """Record each report as an event, and move the recipients it names, and the message, forward."""
    apply_many([(mail, reports)])


@transaction.atomic
def apply_many(heard: Sequence[tuple[OutboundMail, Iterable[Report]]]) -> None:
    """The same for many mails, in a fixed number of queries."""
    moves = Moves(mail for mail, _ in heard)
    for mail, reports in heard:
        for report in reports:
            moves.apply(mail, report)
    moves.write()


def lock_inboxes(inbox_ids: Iterable[str]) -> dict[str, Inbox]:
    """In order, as everybody does who locks several. By id, with what their sending record and their breaker go by."""
    rows = Inbox.objects.select_for_update(no_key=True).filter(pk__in=set(inbox_ids)).order_by("pk")
    return {inbox.pk: inbox for inbox in rows.only("status", "record_from", "trials_left")}


def news_of(mail: OutboundMail, report: Report) -> News:
    message = mail.message
    about = {**({"reason": report.reason} if report.reason else {}), **report.data}
    whose = (mail.account_id, mail.inbox_id, message.thread_id, message.pk, report.recipient)
    return News(report.event, *whose, about, report.occurred_at)


def _moved_forward(recipient: Recipient, report: Report) -> bool:
    """Not stored yet; whether there is anything to store."""
    status = STATUS_OF.get(report.event)
    if status is None or recipient.status not in FOLLOWS[status]:
        return False
    recipient.status, recipient.reason, recipient.updated_at = status, report.reason, timezone.now()
    return True


def requeue(mail: OutboundMail) -> None:
    """An operator sends an unknown mail again: its recipients wait as they did at first, and an event says so."""
    lock_inboxes([mail.inbox_id])
    mail.recipients.filter(status=Status.UNKNOWN).update(status=Status.QUEUED, reason="", updated_at=timezone.now())
    recipients = list(mail.recipients.all())
    record_events(news_of(mail, Report(EventType.MESSAGE_QUEUED, recipient.address)) for recipient in mail.remaining())
    shown, status = _shown_of(recipients)
    Message.objects.filter(pk=mail.message_id).update(recipients=shown, status=status)
    wake_on_commit({mail.inbox_id})


def _shown_of(recipients: list[Recipient]) -> tuple[list[dict[str, str]], Status]:
    """`recipients` and `status` of a message."""
    shown = [
        {"address": r.address, "status": str(r.status), "reason": r.reason}
        for r in sorted(recipients, key=lambda r: r.pk)
    ]
    statuses = [Status(recipient.status) for recipient in recipients]
    going = [
        status for status in statuses if status is not Status.BLOCKED
    ]  # one who is left out does not stop the others
    return shown, max(going or statuses, key=SHOWN_FIRST_TO_LAST.index, default=Status.QUEUED)
