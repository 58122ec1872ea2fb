"""GET and POST /u/{token}: the page behind List-Unsubscribe, and the one click of RFC 8058.

Only POST unsubscribes: whoever looks whether links are safe, gets them. It needs no cookie, no session and no further step, and is answered
without a redirect. Of what is no link of ours the page says the same, whatever it is.
"""

from collections.abc import Mapping
from types import MappingProxyType

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.views.decorators.csrf import csrf_exempt

from audit.actors import acting_as_system, current
from delivery.unsubscribing import ONE_CLICK, Link, is_unsubscribed, link_of, unsubscribe
from inboxes.models import Inbox
from mailbot.api.bad_keys import network_of
from mailbot.api.rate_limits import counter

HEADERS = {
    # As the console's, but for scripts and pictures, of which there are none.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
FIELD = "List-Unsubscribe"  # RFC 8058 3.2


@csrf_exempt
def unsubscribe_page(request: HttpRequest, token: str) -> HttpResponse:
    asked = current()
    with acting_as_system("unsubscribe") as context:
        context.remote_addr, context.request_id = asked.remote_addr, asked.request_id
        try:
            return _answer(request, link_of(token), asked.remote_addr)
        except (OperationalError, InterfaceError):
            return _page("unavailable", 503, retry_after=60)


def _answer(request: HttpRequest, link: Link | None, remote_addr: str | None) -> HttpResponse:
    if request.method not in ("GET", "HEAD", "POST"):
        return _page("method", 405)
    if link is None:
        wait = _wait_of(remote_addr)
        return _page("too_many", 429, retry_after=wait) if wait else _page("unknown", 404)
    inbox = Inbox.objects.filter(pk=link.inbox_id).first()
    about = {"address": link.address, "sender": inbox.address if inbox else ""}
    if request.method != "POST":
        return _page("done" if is_unsubscribed(link) else "ask", 200, about)
    if request.POST.get(FIELD) != ONE_CLICK:
        return _page("ask", 400, about)
    unsubscribe(link, "one click")
    return _page("done", 200, about)


def _wait_of(remote_addr: str | None) -> int:
    """Seconds that this caller, whose link is none, is to wait. Links of ours are not counted: mail services open them for many."""
    rate = settings.RATE_LIMIT_UNSUBSCRIBE
    if rate is None:
        return 0
    (count,) = counter().hit([(f"unsubscribe:{network_of(remote_addr)}", rate)])
    return 0 if count.fits else int(count.wait) + 1


def _page(
    what: str, status: int, about: Mapping[str, str] = MappingProxyType({}), retry_after: int | None = None
) -> HttpResponse:
    answer = SimpleTemplateResponse("unsubscribe.html", {"what": what, **about}, status=status).render()
    for name, value in HEADERS.items():
        answer[name] = value
    if retry_after is not None:
        answer["Retry-After"] = str(retry_after)
    if status == 405:
        answer["Allow"] = "GET, HEAD, POST"
    return answer
