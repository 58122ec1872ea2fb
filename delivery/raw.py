"""The raw bytes of a message, wherever they are: in the row that they came with, or in the object store."""

import hashlib
import logging

from delivery.models import InboundMail, OutboundMail, RawObject
from mailbot.lib import object_store
from mailbot.lib.object_store import StoreUnavailable
from threads.models import Message

log = logging.getLogger(__name__)


class RawGone(LookupError):
    """Their time of keeping is over."""


def raw_of(message: Message) -> bytes:
    """As received, or as composed, byte for byte.

    Raises RawGone, or StoreUnavailable when they are kept but cannot be had at the moment.
    """
    row = _row(message)
    if row is None:
        mail_id = message.source_id
    else:
        mail_id, is_in_row, raw = row
        if is_in_row:
            return bytes(raw)
    return raw_in_store(mail_id)


def raw_in(mail_id: str) -> bytes:
    """Of a row of the inbound queue, whatever became of it. Raises as `raw_of` does."""
    row = InboundMail.objects.filter(pk=mail_id).values_list("raw_in_row", "raw").first()
    return bytes(row[1]) if row and row[0] else raw_in_store(mail_id)


def _row(message: Message) -> tuple[str, bool, bytes | memoryview] | None:
    if message.direction == Message.Direction.OUTBOUND:
        return OutboundMail.objects.filter(message=message).values_list("pk", "raw_in_row", "raw").first()
    return InboundMail.objects.filter(pk=message.source_id).values_list("pk", "raw_in_row", "raw").first()


def raw_in_store(mail_id: str) -> bytes:
    """Of a mail whose row does not have it. Raises as `raw_of` does."""
    kept = RawObject.objects.filter(pk=mail_id, state=RawObject.State.KEPT)
    card = kept.first()
    if card is None:
        raise RawGone(mail_id)
    try:
        raw = object_store.read(card.name)
    except FileNotFoundError as error:
        if not kept.exists():  # removed while we were looking
            raise RawGone(mail_id) from error
        # A folder that is not mounted looks like this too: what is kept is never said to be gone.
        log.error("The object store does not have %s, which it was given at %s.", card.name, card.moved_at)
        raise StoreUnavailable(f"The store does not have {card.name}.") from error
    if hashlib.sha256(raw).hexdigest() != card.sha256:
        log.error("The object store has other bytes than it was given under %s.", card.name)
        raise StoreUnavailable(f"The store has other bytes than it was given under {card.name}.")
    return raw
