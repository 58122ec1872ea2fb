"""The HTML of a mail that is tracked: with a pixel at its end, and links that lead by way of this server."""

from urllib.parse import urlsplit

from django.conf import settings

from delivery.engagement.links import replaced
from delivery.engagement.tokens import CLICK, OPEN, token
from threads.models import Message

MAX_URL = 1500  # characters: with a token around it some 2,100, which everything that follows links takes
# Whoever wants no more mail must get there by whatever way he is given, and no link of ours stands in between.
_LEFT_ALONE = ("unsubscrib", "optout", "opt-out", "opt_out")


def tracked(message: Message, *, pixel: bool, redirect: bool) -> str:
    """Its HTML as it is to leave. The message itself keeps what its author wrote; its text is not touched."""
    page = message.body_html
    if not page:
        return page
    if redirect:
        page = replaced(page, lambda url: click_url(message.pk, url) if is_followed(url) else None)
    return _with_pixel(page, message.pk) if pixel else page


def is_followed(url: str) -> bool:
    """Whether a click on it is told of: plain http(s), and none that leads out of the mail in another sense."""
    lowered = url.lower()
    if not lowered.startswith(("http://", "https://")) or len(url) > MAX_URL:
        return False
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False  # as a Location it would be another URL
    if any(word in lowered for word in _LEFT_ALONE) or lowered.startswith(settings.TRACKING_URL.lower() + "/"):
        return False
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def click_url(message_id: str, url: str) -> str:
    return f"{settings.TRACKING_URL}/t/c/{token(CLICK, message_id, url)}"


def _with_pixel(page: str, message_id: str) -> str:
    address = f"{settings.TRACKING_URL}/t/o/{token(OPEN, message_id)}.gif"
    image = f'<img src="{address}" width="1" height="1" alt="" style="border:0">'
    end = page.lower().rfind("</body")
    return page[:end] + image + page[end:] if end >= 0 else page + image
