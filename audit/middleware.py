"""Gives each request its id and the context in which its acts are recorded."""

import re
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from audit.actors import ActContext, Actor, ActorKind, acting_in, current
from mailbot.api.request_log import Stopwatch, note_request, route_of
from mailbot.api.views import is_plain_id
from mailbot.lib.scope import NOBODY, acting_within
from mailbot.lib.stray_keys import looks_like_key

_USABLE_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{8,100}")


class RequestContextMiddleware:
    """Sets `request.request_id`, answers it as X-Request-Id and makes the ActContext of the request the current one. Logs the request.

    Until somebody is authenticated it acts for nobody (mailbot.lib.scope).

    A caller's own X-Request-Id is kept when it has a usable shape and is no API key, so that a client can find its request in the
    trail.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.answer_async(request)
        watch = Stopwatch()
        with acting_within(NOBODY), acting_in(context_of(request)) as context:
            return _marked(request, self.get_response(request), context, watch)  # type: ignore[arg-type]

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        watch = Stopwatch()
        with acting_within(NOBODY), acting_in(context_of(request)) as context:
            return _marked(request, await self.get_response(request), context, watch)  # type: ignore[misc]


class ConsoleActorMiddleware(MiddlewareMixin):
    """Names the console user who acts. Stands behind Django's AuthenticationMiddleware."""

    def process_request(self, request: HttpRequest) -> None:
        if request.user.is_authenticated:
            current().actor = Actor(ActorKind.USER, str(request.user.pk), request.user.get_username())


def context_of(request: HttpRequest) -> ActContext:
    """The context of a request, which gets its `request_id` here."""
    context = ActContext(remote_addr=remote_address(request))
    wanted = request.headers.get("X-Request-Id", "")
    if _USABLE_REQUEST_ID.fullmatch(wanted) and not looks_like_key(wanted):
        context.request_id = wanted
    request.request_id = context.request_id  # type: ignore[attr-defined]
    return context


def _marked(
    request: HttpRequest, response: HttpResponseBase, context: ActContext, watch: Stopwatch
) -> HttpResponseBase:
    response["X-Request-Id"] = context.request_id
    match = request.resolver_match
    inbox_id = str(match.kwargs.get("inbox_id", "")) if match else ""
    note_answer(context, request.method or "", route_of(request), response.status_code, watch, inbox_id)
    return response


def note_answer(
    context: ActContext, method: str, route: str, status: int, watch: Stopwatch, inbox_id: str = ""
) -> None:
    """Log that a request is answered. An inbox is named as the path named it, whether the key may see it or not."""
    note_request(
        method=method,
        route=route,
        status=status,
        seconds=watch.seconds(),
        request_id=context.request_id,
        key_id=context.actor.id if context.actor.kind is ActorKind.API_KEY else "",
        user_id=context.actor.id if context.actor.kind is ActorKind.USER else "",
        account_id=context.account_id,
        inbox_id=inbox_id if is_plain_id(inbox_id) else "",
    )


def remote_address(request: HttpRequest) -> str | None:
    """The peer's address, or what the outermost of our TRUSTED_PROXIES saw: earlier X-Forwarded-For entries are hearsay.

    None for what is no address (PostgreSQL's inet takes nothing else): a trail without it is better than an act that fails.
    """
    forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    trusted: int = settings.TRUSTED_PROXIES
    seen = forwarded[-trusted] if trusted and len(forwarded) >= trusted else request.META.get("REMOTE_ADDR", "")
    try:
        return str(ip_address(seen.partition("%")[0]))  # a link-local one comes with its interface
    except ValueError:
        return None
