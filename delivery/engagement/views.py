"""GET /t/o/{token}.gif, the pixel of a mail, and GET /t/c/{token}, where a link of it leads.

They are asked by mail programs and readers, who must get what they came for whatever happens here: trouble with the database costs an event
and no reader anything. No cookies, nothing is kept of who asked but the User-Agent.
"""

import base64
import logging
from collections.abc import Mapping

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from delivery.engagement.noting import note
from delivery.engagement.tokens import CLICK, OPEN, read
from mailbot.lib.scope import acting_for_everybody
from threads.events import EventType

log = logging.getLogger(__name__)

GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")  # one transparent pixel
HEADERS = {
    "Cache-Control": "no-store, no-cache, private, max-age=0",
    "Pragma": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Content-Security-Policy": "default-src 'none'",
}
NOT_OURS = "This link is damaged: it was not written by this server, or has been changed since.\n"


def pixel(request: HttpRequest, token: str) -> HttpResponseBase:
    told = read(OPEN, token)
    if told is None:
        return _not_ours()
    if refused := _other_method(request):
        return refused
    _note_safely(request, EventType.MESSAGE_OPENED, told.message_id)
    return HttpResponse(GIF, content_type="image/gif", headers=HEADERS)


def link(request: HttpRequest, token: str) -> HttpResponseBase:
    told = read(CLICK, token)
    if told is None:
        return _not_ours()
    if refused := _other_method(request):
        return refused
    _note_safely(request, EventType.MESSAGE_CLICKED, told.message_id, told.url)
    # Not HttpResponseRedirect, which would write the URL in its own way: it leads exactly where the mail's author wrote.
    return HttpResponse(status=302, headers={**HEADERS, "Location": told.url})


def _note_safely(request: HttpRequest, event: EventType, message_id: str, url: str = "") -> None:
    """Not for HEAD: whoever asks so looks whether the link is alive, and has not read anything."""
    if request.method != "GET":
        return
    headers: Mapping[str, str] = request.headers
    try:
        with acting_for_everybody("a reader has a token of this server"):
            note(event, message_id, headers, url)
    except (DatabaseError, InterfaceError) as error:
        log.warning("%s of %s is not written: %s", event, message_id, error)


def _other_method(request: HttpRequest) -> HttpResponse | None:
    if request.method in ("GET", "HEAD"):
        return None
    return HttpResponse(status=405, headers={**HEADERS, "Allow": "GET, HEAD"})


def _not_ours() -> HttpResponse:
    return HttpResponse(NOT_OURS, status=404, content_type="text/plain; charset=utf-8", headers=HEADERS)
