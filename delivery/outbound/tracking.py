"""What is heard of a mail after it was handed over. A recipient's status only moves forward, however late or often news come."""

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from delivery.models import OutboundMail, Recipient
from delivery.outbound.outcomes import Report
from delivery.suppression_reports import suppress_reported
from inboxes.models import Inbox
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


@transaction.atomic
def apply_reports(mail: OutboundMail, reports: Iterable[Report]) -> None:
    """Record each report as an event, and move the recipients it names, and the message, forward.

    Under the inbox's lock: two reports on one message would otherwise each write what they read before the other's.
    """
    Inbox.objects.select_for_update(no_key=True).get(pk=mail.inbox_id)
    recipients = {recipient.address: recipient for recipient in mail.recipients.all()}
    reports = list(reports)
    for report in reports:
        if recipient := recipients.get(report.recipient):
            move_forward(recipient, report)
    record_events(news_of(mail, report) for report in reports)
    show_on_message(mail, list(recipients.values()))
    suppress_reported(mail, reports)
    wake_on_commit({mail.inbox_id})


def news_of(mail: OutboundMail, report: Report) -> News:
    message = mail.message
    about = {**({"reason": report.reason} if report.reason else {}), **report.data}
    whose = (mail.account_id, mail.inbox_id, message.thread_id, message.pk, report.recipient)
    return News(report.event, *whose, about, report.occurred_at)


def move_forward(recipient: Recipient, report: Report) -> None:
    if moved_forward(recipient, report):
        recipient.save(update_fields=["status", "reason", "updated_at"])


def moved_forward(recipient: Recipient, report: Report) -> bool:
    """The same, not stored yet; whether there is anything to store."""
    status = STATUS_OF.get(report.event)
    if status is None or recipient.status not in FOLLOWS[status]:
        return False
    recipient.status, recipient.reason, recipient.updated_at = status, report.reason, timezone.now()
    return True


def requeue(mail: OutboundMail) -> None:
    """An operator sends an unknown mail again: its recipients wait as they did at first, and an event says so."""
    Inbox.objects.select_for_update(no_key=True).get(pk=mail.inbox_id)
    mail.recipients.filter(status=Status.UNKNOWN).update(status=Status.QUEUED, reason="", updated_at=timezone.now())
    record_events(news_of(mail, Report(EventType.MESSAGE_QUEUED, recipient.address)) for recipient in mail.remaining())
    show_on_message(mail, list(mail.recipients.all()))
    wake_on_commit({mail.inbox_id})


def show_on_message(mail: OutboundMail, recipients: list[Recipient]) -> None:
    """The message shows each recipient, and one status for all."""
    shown, status = shown_of(recipients)
    Message.objects.filter(pk=mail.message_id).update(recipients=shown, status=status)


def shown_of(recipients: list[Recipient]) -> tuple[list[dict[str, str]], Status]:
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
