"""Gives each request its id and the context in which its acts are recorded."""

import re
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from audit.actors import ActContext, Actor, ActorKind, acting_in, current
from mailbot.lib.scope import NOBODY, acting_within
from mailbot.lib.stray_keys import looks_like_key

_USABLE_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{8,100}")


class RequestContextMiddleware:
    """Sets `request.request_id`, answers it as X-Request-Id and makes the ActContext of the request the current one.

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
        with acting_within(NOBODY), acting_in(context_of(request)) as context:
            return _marked(self.get_response(request), context)  # type: ignore[arg-type]

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        with acting_within(NOBODY), acting_in(context_of(request)) as context:
            return _marked(await self.get_response(request), context)  # type: ignore[misc]


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


def _marked(response: HttpResponseBase, context: ActContext) -> HttpResponseBase:
    response["X-Request-Id"] = context.request_id
    return response


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
