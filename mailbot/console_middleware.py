"""Django's middleware for people in a browser, kept out of the way of the API.

A request to /v1 or /hooks has no session, no CSRF token and no console user. Passing it by saves it some ten thread hops under ASGI, and it
cannot be authenticated by a cookie by mistake. Subclasses, so that the admin's own checks still find what they ask for.
"""

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware as DjangoAuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware as DjangoMessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware as DjangoXFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware as DjangoCommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware as DjangoCsrfViewMiddleware
from django.middleware.security import SecurityMiddleware as DjangoSecurityMiddleware
from django.utils.deprecation import MiddlewareMixin

from audit import middleware as audit_middleware
from inboxes.console_roles import enter_scope

# The probes too: who asks them knows this machine by an address and no host name.
PASSED_BY = ("/v1/", "/hooks/", "/u/", "/t/", "/healthz", "/readyz", "/metrics")
# Everything is our own, nothing is inline: whatever markup a mail might smuggle into a page runs and loads nothing.
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"


class NotForTheApi(MiddlewareMixin):
    def __call__(self, request: HttpRequest) -> Any:
        # In async mode get_response gives a coroutine, which the caller awaits: the same line serves both.
        return self.get_response(request) if request.path.startswith(PASSED_BY) else super().__call__(request)

    async def __acall__(self, request: HttpRequest) -> Any:
        """Sentry wraps middleware and calls this one of Django's directly, past the above."""
        if request.path.startswith(PASSED_BY):
            return await self.get_response(request)  # type: ignore[misc]
        return await super().__acall__(request)


class SecurityMiddleware(NotForTheApi, DjangoSecurityMiddleware):
    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.setdefault("Content-Security-Policy", POLICY)
        return super().process_response(request, response)


class SessionMiddleware(NotForTheApi, DjangoSessionMiddleware): ...


class CommonMiddleware(NotForTheApi, DjangoCommonMiddleware): ...


class CsrfViewMiddleware(NotForTheApi, DjangoCsrfViewMiddleware): ...  # DRF's views are exempt by themselves


class AuthenticationMiddleware(NotForTheApi, DjangoAuthenticationMiddleware): ...


class ConsoleActorMiddleware(NotForTheApi, audit_middleware.ConsoleActorMiddleware): ...


class ConsoleScopeMiddleware(NotForTheApi):
    """Says for which accounts a page of the console acts."""

    def process_request(self, request: HttpRequest) -> None:
        enter_scope(request)


class MessageMiddleware(NotForTheApi, DjangoMessageMiddleware): ...


class XFrameOptionsMiddleware(NotForTheApi, DjangoXFrameOptionsMiddleware): ...
