"""GET and POST /u/{token}: the page behind List-Unsubscribe, and the one click of RFC 8058.

Only POST unsubscribes: whoever looks whether links are safe, gets them. It needs no cookie, no session and no further step, and is answered
without a redirect. Of what is no link of ours the page says the same, whatever it is.
"""

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

# As the console's, but for scripts and pictures, of which there are none.
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
FIELD = "List-Unsubscribe"  # RFC 8058 3.2


@csrf_exempt
def unsubscribe_page(request: HttpRequest, token: str) -> HttpResponse:
    asked = current()
    with acting_as_system("unsubscribe") as context:
        context.remote_addr, context.request_id = asked.remote_addr, asked.request_id
        try:
            return _answer(request, link_of(token), asked.remote_addr)
        except (OperationalError, InterfaceError):
            return _page("unavailable", 503, **{"Retry-After": "60"})


def _answer(request: HttpRequest, link: Link | None, remote_addr: str | None) -> HttpResponse:
    if request.method not in ("GET", "HEAD", "POST"):
        return _page("method", 405, Allow="GET, HEAD, POST")
    if link is None:
        wait = _wait_of(remote_addr)
        return _page("too_many", 429, **{"Retry-After": str(wait)}) if wait else _page("unknown", 404)
    inbox = Inbox.objects.filter(pk=link.inbox_id).first()
    about = {"address": link.address, "sender": inbox.address if inbox else ""}
    if request.method != "POST":
        return _page("done" if is_unsubscribed(link) else "ask", 200, about)
    if request.POST.get(FIELD) != ONE_CLICK:
        return _page("ask", 400, about)
    unsubscribe(link, "one click")
    return _page("done", 200, about)


def _wait_of(remote_addr: str | None) -> int:
    """Seconds that this caller is to wait, who gives links that are none. Links of ours are not counted: mail services open them for many."""
    rate = settings.RATE_LIMIT_UNSUBSCRIBE
    if rate is None:
        return 0
    (count,) = counter().hit([(f"unsubscribe:{network_of(remote_addr)}", rate)])
    return 0 if count.fits else int(count.wait) + 1


def _page(what: str, status: int, about: dict[str, str] | None = None, **headers: str) -> HttpResponse:
    answer = SimpleTemplateResponse("unsubscribe.html", {"what": what, **(about or {})}, status=status).render()
    for name, value in {**headers, "Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}.items():
        answer[name] = value
    answer["Cache-Control"], answer["X-Robots-Tag"], answer["X-Content-Type-Options"] = "no-store", "noindex", "nosniff"
    return answer
