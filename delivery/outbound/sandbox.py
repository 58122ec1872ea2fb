"""Where the mail of test keys goes: to sandbox inboxes of this server for real, everywhere else only in appearance.

Nothing leaves the server. `bounce@`, `softbounce@` and `complaint@simulator.<domain>` answer with the events of their names.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings

from delivery.inbound.receive import InboundRecipient, ReceivedMail, StorageError, store_inbound_mail
from delivery.inbound.receive import Outcome as Stored
from delivery.models import OutboundMail, Recipient
from delivery.outbound.outcomes import Outcome, Report, Result
from inboxes.models import Mode
from inboxes.routing import RoutedInbox, find_inboxes
from mailbot.lib.addresses import AddressError, CanonicalAddress, canonical
from threads.events import EventType

SIMULATED = {
    "bounce": (EventType.MESSAGE_BOUNCED, "550 5.1.1 simulated hard bounce"),
    "softbounce": (EventType.MESSAGE_DEFERRED, "452 4.2.2 simulated soft bounce: mailbox full"),
    "complaint": (EventType.MESSAGE_COMPLAINED, "simulated complaint"),
}
DELIVERED = (EventType.MESSAGE_DELIVERED, "250 captured by the sandbox")
DELIVERED_HERE = (EventType.MESSAGE_DELIVERED, "250 delivered to a sandbox inbox of this server")
FULL = (EventType.MESSAGE_DEFERRED, "452 4.2.2 the account of that sandbox inbox is full")
NO_SUCH_INBOX = (EventType.MESSAGE_BOUNCED, "550 5.1.1 no such sandbox inbox here")


@dataclass(frozen=True, slots=True)
class Sandbox:
    name: str = "sandbox"

    def send(self, mail: OutboundMail, recipients: Sequence[Recipient]) -> Outcome:
        addresses = {recipient.address: _read(recipient.address) for recipient in recipients}
        found = find_inboxes(address for address in addresses.values() if address)
        here = {address: inbox for address, inbox in found.items() if inbox.mode == Mode.TEST}
        try:
            if not self._deliver_here(mail, addresses, here):
                here = {}
        except StorageError as error:
            return Outcome(Result.TEMPORARY, str(error))
        reports = (
            Report(event, name, reason) for name, address in addresses.items() for event, reason in _told(address, here)
        )
        return Outcome.sent(f"sandbox:{mail.pk}", tuple(reports))

    def _deliver_here(
        self, mail: OutboundMail, addresses: dict[str, CanonicalAddress | None], here: dict[str, RoutedInbox]
    ) -> bool:
        """Through the same door as mail from outside, which may be shut by now: whether it was taken.

        The key is the row's id, so that a repeated try is one delivery. Raises StorageError.
        """
        open_here = {name for name, inbox in here.items() if not inbox.is_full}
        named = [address for address in addresses.values() if address and address.address in open_here]
        if not named:
            return True
        recipients = tuple(InboundRecipient(name.address, name.tag, here[name.address].inbox_id) for name in named)
        received = ReceivedMail(
            source="sandbox",
            dedupe_key=mail.pk,
            envelope_sender=mail.envelope_sender,
            recipients=recipients,
            raw=bytes(mail.raw),
        )
        return store_inbound_mail([received]) == [Stored.STORED]


def _read(address: str) -> CanonicalAddress | None:
    try:
        return canonical(address)
    except AddressError:
        return None


def _told(address: CanonicalAddress | None, here: dict[str, RoutedInbox]) -> list[tuple[EventType, str]]:
    """A complaint is one about a mail that was delivered first."""
    if address is None:
        return [NO_SUCH_INBOX]
    if address.domain == settings.MAILBOT_SIMULATOR_DOMAIN and address.local_part in SIMULATED:
        told = SIMULATED[address.local_part]
        return [DELIVERED, told] if told[0] is EventType.MESSAGE_COMPLAINED else [told]
    if inbox := here.get(address.address):
        return [FULL if inbox.is_full else DELIVERED_HERE]
    if address.domain == settings.MAILBOT_DOMAIN:
        return [NO_SUCH_INBOX]
    return [DELIVERED]
