"""Writing down that a mail was opened or a link of it followed."""

from collections.abc import Mapping

from django.db import transaction
from django.utils import timezone

from delivery.engagement.machines import machine_signs, told_of
from delivery.inbound.receive import storable
from delivery.models import OutboundMail
from delivery.outbound.outcomes import Report
from delivery.outbound.tracking import apply_reports
from inboxes.models import Inbox
from threads.events import EventType
from threads.models import Event

MOST = 100  # events of each kind that a message gets this way: anybody who has the mail may fetch its pixel for ever


def note(event: EventType, message_id: str, headers: Mapping[str, str], url: str = "") -> bool:
    """Whether it was written. It is not where the message is gone, or has had as many."""
    mail = _mail(message_id)
    if mail is None or _has_enough(message_id, event):
        return False
    agent = storable(headers.get("User-Agent", ""))
    now = timezone.now()
    told = told_of(agent, machine_signs(agent, headers, now, mail.finished_at))
    data = {"source": "mailbot", **({"url": url} if url else {}), **told}
    with transaction.atomic():
        Inbox.objects.select_for_update(no_key=True).get(pk=mail.inbox_id)
        if _has_enough(message_id, event):  # now nobody else adds one
            return False
        apply_reports(mail, [Report(event, _recipient(mail), data=data)])
    return True


def _mail(message_id: str) -> OutboundMail | None:
    """Without the raw bytes, and without the bodies of the message."""
    columns = ("account_id", "inbox_id", "message_id", "finished_at", "message__thread_id")
    mails = OutboundMail.objects.select_related("message").only(*columns)
    return mails.filter(message_id=message_id).first()


def _has_enough(message_id: str, event: EventType) -> bool:
    return Event.objects.filter(message_id=message_id, type=event.value)[:MOST].count() >= MOST


def _recipient(mail: OutboundMail) -> str:
    """All recipients get the same bytes, so with several nobody knows who it was."""
    addresses = [recipient.address for recipient in mail.recipients.all()[:2]]
    return addresses[0] if len(addresses) == 1 else ""
