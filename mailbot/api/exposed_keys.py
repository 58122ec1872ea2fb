"""A key in a URL is refused, before anything is logged or recorded.

Servers, proxies and browsers keep URLs: a key that came in one is known to all who read their logs. To let it pass would teach the
caller to go on; so the answer says what has happened and what to do, whether the key is a good one or not.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, unquote, unquote_plus

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mailbot.api.errors import ApiError, Code, error_response
from mailbot.lib.stray_keys import looks_like_key

# Under these names other APIs take a key in the URL. None of ours is called so.
PARAMETERS = frozenset({"api_key", "apikey", "api-key", "access_token", "key", "token"})
HEADER = "Authorization: Bearer <key>"


def refuse_exposed_key(path: str, query_string: str, idempotency_key: str = "") -> None:
    """Raises ApiError when a key stands in a URL, or in the one other header that is kept. `query_string` is as it came."""
    if looks_like_key(unquote(path)) or looks_like_key(unquote_plus(query_string)):
        raise _exposed("in its URL")
    if path.startswith("/v1/") and any(
        name.lower() in PARAMETERS and value for name, value in _parameters(query_string)
    ):
        raise _exposed("in its URL")
    if looks_like_key(idempotency_key):
        raise _exposed("in Idempotency-Key, which is kept")


def _parameters(query_string: str) -> list[tuple[str, str]]:
    return parse_qsl(query_string, errors="replace") if query_string else []


def _exposed(where: str) -> ApiError:
    fix = f"Revoke the key that was in it and make a new one: logs on the way may hold it by now. Send keys only as `{HEADER}`."
    return ApiError(Code.INVALID_REQUEST, f"The request has an API key {where}, and was not answered.", fix=fix)


class ExposedKeyMiddleware:
    """For whatever Django answers. Stands behind RequestContextMiddleware, which gives the answer its request id."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        try:
            query_string, idempotency_key = request.META.get("QUERY_STRING", ""), request.headers.get("Idempotency-Key")
            refuse_exposed_key(request.path, query_string, idempotency_key or "")
        except ApiError as error:
            refusal = _refusal(request, error)
            return _soon(refusal) if iscoroutinefunction(self) else refusal
        return self.get_response(request)


async def _soon(response: HttpResponse) -> HttpResponseBase:
    return response


def _refusal(request: HttpRequest, error: ApiError) -> HttpResponse:
    if request.path.startswith("/v1/"):
        response: HttpResponse = error_response(request, error)
    else:
        text = f"{error.message} {error.fix}"
        response = HttpResponse(text, status=error.status, content_type="text/plain; charset=utf-8")
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django would write the path to its log
    return response
