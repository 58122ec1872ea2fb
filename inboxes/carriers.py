"""What has to be known here of an ESP, which is otherwise an affair of the app that sends. That app says it when the server starts."""

from dataclasses import dataclass

from inboxes.models import Provider


@dataclass(frozen=True, slots=True)
class Carrier:
    """`signs`: it puts a DKIM signature for the sender's domain on mail by itself, with a key and a return path of its own, once the domain
    is set up there."""

    label: str
    signs: bool


_known: dict[str, Carrier] = {}


def register(esp: str, carrier: Carrier) -> None:
    _known[esp] = carrier


def carrier_of(provider: Provider | None) -> Carrier | None:
    """None: the server's own way out, or an ESP that this server lacks."""
    return _known.get(provider.esp) if provider else None
