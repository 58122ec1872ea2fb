"""Who sees the opens and clicks of a mail: the ESP that will carry it, where it can, and this server otherwise."""

from dataclasses import asdict, dataclass

from delivery.engagement.page import tracked
from delivery.esps import ESPS
from delivery.esps.base import Tracks
from delivery.outbound.choosing import provider_for
from inboxes.models import Inbox, Mode, Provider
from threads.models import Message


@dataclass(frozen=True, slots=True)
class Tracking:
    """`opens_by_esp`: it is asked to. `pixel` and `redirect`: ours, in the bytes of the mail."""

    opens_by_esp: bool = False
    pixel: bool = False
    redirect: bool = False

    def page(self, message: Message) -> str:
        """The HTML as it is to leave."""
        return tracked(message, pixel=self.pixel, redirect=self.redirect)

    def kept(self) -> dict[str, bool]:
        """For a mail that is composed again when its files are there."""
        return asdict(self)


def tracking_for(inbox: Inbox, *, opens: bool | None, page: str, carrier: Provider | None) -> Tracking:
    """What is wanted for this mail, which says so itself or leaves it to its inbox, and who does it. Asks nothing where nothing is wanted.

    Bytes are fixed now, so it is chosen now: who carries the mail in the end may be another one, and then sees nothing.
    """
    wants_opens = inbox.track_opens if opens is None else opens
    if not (wants_opens or inbox.track_clicks):
        return Tracking()
    seen = _tracks(inbox, carrier)
    by_esp = wants_opens and Tracks.OPENS in seen
    return Tracking(
        opens_by_esp=by_esp,
        pixel=wants_opens and not by_esp and bool(page),
        redirect=inbox.track_clicks and Tracks.CLICKS not in seen and bool(page),
    )


def _tracks(inbox: Inbox, carrier: Provider | None) -> frozenset[Tracks]:
    """Through the server's own backend no news come back, whatever ESP is behind it."""
    if inbox.mode == Mode.TEST:
        return frozenset()
    provider = carrier or provider_for(inbox)
    esp = ESPS.get(provider.esp) if provider else None
    return esp.tracks if esp else frozenset()
