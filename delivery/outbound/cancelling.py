"""Taking back a mail that has not left."""

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from audit.record import Act, record
from delivery.models import OutboundMail, SendAttempt
from delivery.outbound.outcomes import Report, Result
from delivery.outbound.states import State
from delivery.outbound.tracking import apply_reports
from threads.events import EventType
from threads.models import Message


class TooLate(Exception):
    """It is on its way, or perhaps with a provider already, or it is no mail of ours; the message says which."""


@transaction.atomic
def cancel(message: Message, reason: str) -> None:
    """Safe to repeat. Raises TooLate. Of a worker that claims it and this call, one comes first: the other one finds that."""
    mail = OutboundMail.objects.select_related("message").filter(message=message).first()
    if mail is None:
        raise TooLate("It came in, or is kept without its place in the queue: there is nothing to take back.")
    perhaps_taken = SendAttempt.objects.filter(mail=OuterRef("pk"), outcome=Result.UNKNOWN)
    waiting = OutboundMail.objects.filter(~Exists(perhaps_taken), state__in=[State.QUEUED, State.PREPARING])
    gone = {"lease_token": "", "lease_until": None, "to_fetch": None, "finished_at": timezone.now()}
    if not waiting.filter(pk=mail.pk).update(state=State.CANCELLED, error=reason, **gone):
        mail.refresh_from_db(fields=["state"])
        if mail.state == State.CANCELLED:
            return
        raise TooLate(_why(State(mail.state)))
    addresses = [recipient.address for recipient in mail.remaining()]
    apply_reports(mail, [Report(EventType.MESSAGE_CANCELLED, address, reason) for address in addresses])
    changes = {"recipients": addresses, "subject": mail.message.subject, "reason": reason}
    record(Act.MESSAGE_CANCELLED, mail.message, account_id=mail.account_id, inbox_id=mail.inbox_id, changes=changes)


def _why(state: State) -> str:
    if state in (State.QUEUED, State.PREPARING):
        return "An earlier try may have reached the provider, so nobody can say any more that it was not sent."
    if state is State.SENDING:
        return "It is being handed to the provider right now."
    return f"It is not waiting any more: it is {state}."
