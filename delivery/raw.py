"""The raw bytes of a message, wherever they are."""

from delivery.models import InboundMail, OutboundMail
from threads.models import Message


class RawGone(LookupError):
    """Their time of keeping is over."""


def raw_of(message: Message) -> bytes:
    """As received, or as composed. Raises RawGone."""
    outbound = message.direction == Message.Direction.OUTBOUND
    rows = (
        OutboundMail.objects.filter(message=message) if outbound else InboundMail.objects.filter(pk=message.source_id)
    )
    raw = rows.values_list("raw", flat=True).first()
    if raw is None:
        raise RawGone(message.pk)
    return bytes(raw)
