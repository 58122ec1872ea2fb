"""What is heard of a mail after it was handed over. A recipient's status only moves forward, however late or often news come."""

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from delivery.models import OutboundMail, Recipient
from delivery.outbound.outcomes import Report
from inboxes.models import Inbox
from threads.events import EventType, News, record_events
from threads.models import Message
from threads.wakeups import wake_on_commit

# How far along each status is. What comes later in the life of a mail wins over what is heard later.
RANK: dict[str, int] = {
    status: rank
    for rank, status in enumerate(
        ["scheduled", "awaiting_approval", "queued", "sending", "unknown", "sent", "deferred", "delivered", "bounced", "blocked", "failed", "complained"]
    )
}
STATUS_OF: dict[EventType, str] = {
    EventType.MESSAGE_SENT: Message.Status.SENT,
    EventType.MESSAGE_DELIVERED: Message.Status.DELIVERED,
    EventType.MESSAGE_DEFERRED: Message.Status.DEFERRED,
    EventType.MESSAGE_BOUNCED: Message.Status.BOUNCED,
    EventType.MESSAGE_COMPLAINED: Message.Status.COMPLAINED,
    EventType.MESSAGE_FAILED: Message.Status.FAILED,
    EventType.MESSAGE_BLOCKED: Message.Status.BLOCKED,
    EventType.MESSAGE_UNKNOWN: Message.Status.UNKNOWN,
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
    record_events(_news(mail, report) for report in reports)
    show_on_message(mail, list(recipients.values()))
    wake_on_commit({mail.inbox_id})


def _news(mail: OutboundMail, report: Report) -> News:
    message = mail.message
    about = {"reason": report.reason} if report.reason else {}
    return News(report.event, mail.account_id, mail.inbox_id, message.thread_id, message.pk, report.recipient, about)


def move_forward(recipient: Recipient, report: Report) -> None:
    status = STATUS_OF.get(report.event)
    if status is None or RANK[status] <= RANK[recipient.status]:
        return
    recipient.status, recipient.reason, recipient.updated_at = status, report.reason, timezone.now()
    recipient.save(update_fields=["status", "reason", "updated_at"])


def show_on_message(mail: OutboundMail, recipients: list[Recipient]) -> None:
    """The message shows each recipient, and as its own status that of the one who is furthest along."""
    shown = [{"address": r.address, "status": str(r.status), "reason": r.reason} for r in sorted(recipients, key=lambda r: r.pk)]
    status = max((str(recipient.status) for recipient in recipients), key=RANK.__getitem__, default=Message.Status.QUEUED)
    Message.objects.filter(pk=mail.message_id).update(recipients=shown, status=status)
