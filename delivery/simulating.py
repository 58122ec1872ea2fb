"""What a test key lets happen: mail that comes in, and news of mail that was sent, as if somebody outside had caused them.

They go the ways of real ones: mail through the door that SMTP uses, news through what reads the webhooks of ESPs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import make_msgid

from django.db import transaction
from django.utils import timezone

from delivery.inbound.receive import InboundRecipient, ReceivedMail, store_inbound_mail
from delivery.inbound.receive import Outcome as Stored
from delivery.models import OutboundMail
from delivery.outbound.compose import OutgoingAttachment, compose, is_sendable_id, references_for_reply, reply_subject
from delivery.outbound.outcomes import Report
from delivery.outbound.sandbox import SIMULATED
from delivery.outbound.states import State
from delivery.outbound.tracking import apply_reports
from delivery.raw import raw_of
from inboxes.models import Inbox
from inboxes.routing import find_inboxes
from mailbot.lib.addresses import CanonicalAddress, comparable
from mailbot.lib.ids import new_id
from threads.events import EventType
from threads.mime import Address
from threads.models import Message

CUSTOMER = Address("A customer", "customer@example.com")
# By the short name of the event: what is told, and the reason that is told with it.
NEWS: dict[str, tuple[EventType, str]] = {
    "delivered": (EventType.MESSAGE_DELIVERED, "250 simulated delivery"),
    "bounced": SIMULATED["bounce"],
    "deferred": SIMULATED["softbounce"],
    "complained": SIMULATED["complaint"],
    "opened": (EventType.MESSAGE_OPENED, ""),
    "clicked": (EventType.MESSAGE_CLICKED, ""),
    "unsubscribed": (EventType.MESSAGE_UNSUBSCRIBED, ""),
}
MARK = {"simulated": "true"}


class CannotSimulate(Exception):
    """It could not happen to a real mail either, at the moment; `fix` says what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


@dataclass(frozen=True, slots=True)
class SimulatedMail:
    """A mail as somebody outside writes it. `answers` is the message of the inbox that he answers, if any."""

    sender: Address | None = None
    subject: str = ""
    body_text: str = ""
    body_html: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    attachments: Sequence[OutgoingAttachment] = ()
    answers: Message | None = None
    date: datetime | None = None


@dataclass(frozen=True, slots=True)
class SimulatedNews:
    """`event` is a name of NEWS. No recipients: all of the mail."""

    event: str
    recipients: tuple[str, ...] = ()
    reason: str = ""
    times: int = 1
    is_late: bool = False  # it happened when the mail left, and is told only now


def receive(inbox: Inbox, mail: SimulatedMail) -> Message:
    """Store it as a delivery; the worker files it. What stands in it, as a message that is not saved.

    Raises CannotSimulate, ValueError for what no header can hold, or StorageError.
    """
    message = _written(inbox, mail)
    composed = compose(message, mail.attachments, mail.headers, mail.date or timezone.now())
    message.size = len(composed.raw)
    _deliver(inbox, composed.raw, message.from_address)
    return message


def receive_again(message: Message) -> None:
    """The same mail comes once more, byte for byte, as it does when a sender did not see our answer. Raises as `receive`, and RawGone."""
    _deliver(message.inbox, raw_of(message), message.from_address)


def _written(inbox: Inbox, mail: SimulatedMail) -> Message:
    sender = mail.sender or _who_answers(mail.answers) or CUSTOMER
    return Message(
        inbox=inbox,
        from_name=sender.name,
        from_address=sender.address,
        to=[{"name": inbox.display_name, "address": inbox.address}],
        subject=mail.subject or (reply_subject(mail.answers.subject) if mail.answers else ""),
        message_id_header=make_msgid(domain=sender.address.rpartition("@")[2].encode("idna").decode()),
        in_reply_to=_id_of(mail.answers),
        references=references_for_reply(mail.answers) if mail.answers else [],
        body_text=mail.body_text,
        body_html=mail.body_html,
    )


def _who_answers(message: Message | None) -> Address | None:
    """The other side: the first whom it was written to, or who wrote it."""
    if message is None:
        return None
    if message.direction == Message.Direction.INBOUND:
        return Address(message.from_name, message.from_address)
    return next((Address(person["name"], person["address"]) for person in message.to), None)


def _id_of(message: Message | None) -> str:
    return message.message_id_header if message and is_sendable_id(message.message_id_header) else ""


def _deliver(inbox: Inbox, raw: bytes, envelope_sender: str) -> None:
    address = CanonicalAddress(inbox.local_part, inbox.domain)
    found = find_inboxes([address]).get(inbox.address)
    if found is None or found.inbox_id != inbox.pk:
        raise CannotSimulate("The inbox takes no mail: it is deleted or expired.", "Use another inbox.")
    if found.is_full:
        raise CannotSimulate("The account is full: a sender would be told to try again.", "Purge what is not needed.")
    mail = ReceivedMail(
        source="sandbox",
        dedupe_key=new_id("inmail"),
        envelope_sender=envelope_sender,
        recipients=(InboundRecipient(inbox.address, "", inbox.pk),),
        raw=raw,
    )
    if store_inbound_mail([mail]) != [Stored.STORED]:
        raise CannotSimulate("The inbox takes no mail: it was deleted this moment.", "Use another inbox.")


@transaction.atomic
def tell(message: Message, news: SimulatedNews) -> None:
    """Apply the news to a mail that was sent. Raises CannotSimulate for one that was not, or that has no such recipient."""
    event, reason = NEWS[news.event]
    mail = (
        OutboundMail.objects.select_for_update(no_key=True, of=("self",))
        .select_related("message")
        .filter(message=message)
        .first()
    )
    if mail is None or mail.state != State.SENT:
        status = "received" if mail is None else mail.state
        fix = (
            "Wait until its status is sent, or later; only then can a recipient's server or the recipient do anything."
        )
        raise CannotSimulate(f"Nothing was sent by this message: it is {status}.", fix)
    occurred_at = mail.created_at if news.is_late else None
    told = [
        Report(event, address, news.reason or reason, occurred_at, MARK) for address in _named(mail, news.recipients)
    ]
    apply_reports(mail, told * news.times)


def _named(mail: OutboundMail, wanted: Iterable[str]) -> list[str]:
    """As they stand in the mail. All of them where none is wanted."""
    known = {comparable(recipient.address): recipient.address for recipient in mail.recipients.order_by("pk")}
    missing = [address for address in wanted if comparable(address) not in known]
    if missing:
        raise CannotSimulate(
            f"{missing[0]} is no recipient of this mail.", f"Its recipients are {', '.join(known.values())}."
        )
    return [known[comparable(address)] for address in wanted] or list(known.values())
