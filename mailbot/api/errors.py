"""The one shape of every error that the API answers, and the closed list of its codes."""

import difflib
import logging
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response

from mailbot.lib.disk_full import is_disk_full
from mailbot.lib.object_store import StoreUnavailable

log = logging.getLogger(__name__)


class Code(StrEnum):
    INVALID_REQUEST = "invalid_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    WAIT_TIMEOUT = "wait_timeout"
    CONFLICT = "conflict"
    GONE = "gone"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    BLOCKED = "blocked"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"


STATUS: dict[Code, int] = {
    Code.INVALID_REQUEST: 400,
    Code.UNAUTHENTICATED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.WAIT_TIMEOUT: 408,
    Code.CONFLICT: 409,
    Code.GONE: 410,
    Code.PAYLOAD_TOO_LARGE: 413,
    Code.BLOCKED: 422,
    Code.RATE_LIMITED: 429,
    Code.UNAVAILABLE: 503,
}
FIX_NOT_FOUND = "Check the id, and that your key belongs to the account, mode and inbox it is in."
FIX_UNAUTHENTICATED = "Send `Authorization: Bearer mb_test_…` with a key that is neither revoked nor expired."
MOST_NAMED = 20  # unknown names that an answer lists: looking for the nearest known one costs a millisecond each
FIX_UNAVAILABLE = "Try again in a few seconds; quote the request_id if it stays."


class ApiError(Exception):
    """Raise it anywhere below a view. `fix` says in one line what the caller can do; `extra` goes beside it into the error."""

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        fix: str = "",
        fields: dict[str, list[str]] | None = None,
        status: int | None = None,
        headers: dict[str, str] | None = None,
        meta: dict[str, Any] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.fix, self.fields = code, message, fix, fields or {}
        self.status = status or STATUS[code]
        self.headers, self.meta, self.extra = headers or {}, meta, extra

    def stay(self) -> None:
        """Called once nothing is left of the request, for what has to be there although it was refused."""

    def body(self, request_id: str) -> dict[str, Any]:
        error = {"code": self.code.value, "message": self.message, "fix": self.fix, "fields": self.fields, **self.extra}
        return {"error": {**error, "request_id": request_id}} | ({"meta": self.meta} if self.meta else {})


def invalid(field: str, reason: str, fix: str = "") -> ApiError:
    return ApiError(
        Code.INVALID_REQUEST, f"{field}: {reason}", fix=fix or f"Correct “{field}”.", fields={field: [reason]}
    )


def not_found() -> ApiError:
    """The same answer for what never was, what is another's and what is gone, so that ids cannot be probed."""
    return ApiError(Code.NOT_FOUND, "There is nothing here by that id.", fix=FIX_NOT_FOUND)


def our_fault() -> ApiError:
    """For what is no mistake of the caller's; whoever answers it has logged the exception."""
    return ApiError(Code.UNAVAILABLE, "Something went wrong on our side.", fix=FIX_UNAVAILABLE, status=500)


def unknown_fields(given: Iterable[str], known: Iterable[str], what: str = "field") -> dict[str, list[str]]:
    """For each name that is not known: why, and the nearest one that is."""
    names = list(known)
    found: dict[str, list[str]] = {}
    for name in given:
        if len(found) == MOST_NAMED:
            break
        if name not in names:
            near = difflib.get_close_matches(name[:100], names, n=1)
            found[name[:100]] = [f"Unknown {what}." + (f" Did you mean “{near[0]}”?" if near else "")]
    return found


def handle(exception: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler (settings.REST_FRAMEWORK)."""
    error = as_api_error(exception)
    if error is None:
        log.exception("Unexpected error in %s", context["request"].path, exc_info=exception)
        error = our_fault()
    error.stay()
    return Response(error.body(request_id(context["request"])), status=error.status, headers=error.headers)


def as_api_error(exception: Exception) -> ApiError | None:
    """The ApiError that says what `exception` means to a caller; None when it is a fault of ours."""
    if is_disk_full(exception):
        return _no_room(exception)
    match exception:
        case ApiError():
            return exception
        case exceptions.ValidationError():
            return _invalid_request(exception)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            headers = {"WWW-Authenticate": 'Bearer realm="mailbot"'}
            return ApiError(Code.UNAUTHENTICATED, str(exception.detail), fix=FIX_UNAUTHENTICATED, headers=headers)
        case exceptions.PermissionDenied():
            return ApiError(Code.FORBIDDEN, str(exception.detail), fix="Use a key with that right.")
        case Http404() | exceptions.NotFound():
            return not_found()
        case RequestDataTooBig():
            return ApiError(Code.PAYLOAD_TOO_LARGE, "The body is too large.", fix="Send less, or smaller attachments.")
        case SuspiciousOperation():  # too many parameters, a host name that is none
            return ApiError(Code.INVALID_REQUEST, "The request cannot be read.", fix="Send fewer parameters.")
        case OperationalError() | InterfaceError():
            log.warning("The database cannot be reached: %s", exception)
            headers = {"Retry-After": "2"}
            return ApiError(Code.UNAVAILABLE, "The database cannot be reached.", fix=FIX_UNAVAILABLE, headers=headers)
        case StoreUnavailable():
            log.warning("The object store cannot be used: %s", exception)
            headers = {"Retry-After": "30"}
            message = "The store of files and raw mail cannot be reached."
            return ApiError(Code.UNAVAILABLE, message, fix=FIX_UNAVAILABLE, headers=headers)
        case exceptions.ParseError():
            return ApiError(Code.INVALID_REQUEST, str(exception.detail), fix="Send a JSON object.")
        case exceptions.APIException():
            return _other_refusal(exception)
    return None


def _no_room(exception: Exception) -> ApiError:
    log.error("There is no room left: %s", exception)
    message = "The server's disk is full: nothing of this was kept."
    fix = "Try again later. Whoever runs this server has to make room; reading still works."
    return ApiError(Code.UNAVAILABLE, message, fix=fix, headers={"Retry-After": "60"})


def _other_refusal(exception: exceptions.APIException) -> ApiError:
    match exception:
        case exceptions.UnsupportedMediaType():
            fix = "Send the body as JSON, with the header `Content-Type: application/json`."
        case exceptions.MethodNotAllowed():
            fix = "Use one of the methods in the answer's header Allow."
        case _:
            fix = "See the API's documentation of this path."
    headers = {"Allow": ", ".join(getattr(exception, "allowed_methods", []))}
    return ApiError(
        Code.INVALID_REQUEST,
        str(exception.detail),
        fix=fix,
        status=exception.status_code,
        headers={k: v for k, v in headers.items() if v},
    )


def _invalid_request(exception: exceptions.ValidationError) -> ApiError:
    fields = dict(_flat(exception.detail))
    first_name, first_reasons = next(iter(fields.items()), ("", ["It cannot be read."]))
    message = f"{first_name}: {first_reasons[0]}" if first_name else first_reasons[0]
    return ApiError(
        Code.INVALID_REQUEST, message, fix="Correct the fields that are named and send it again.", fields=fields
    )


def _flat(detail: Any, name: str = "") -> Iterable[tuple[str, list[str]]]:
    """DRF nests reasons as the body is nested; a caller reads `attachments.0.filename` more easily."""
    if isinstance(detail, dict):
        for key, inner in detail.items():
            yield from _flat(inner, name if key == "non_field_errors" else f"{name}.{key}".lstrip("."))
    elif isinstance(detail, list) and any(isinstance(item, (dict, list)) for item in detail):
        for position, inner in enumerate(detail):
            yield from _flat(inner, f"{name}.{position}")
    elif isinstance(detail, list):
        if detail:
            yield name, [str(item) for item in detail]
    else:
        yield name, [str(detail)]


def request_id(request: Any) -> str:
    return str(getattr(request, "request_id", ""))


def error_response(request: HttpRequest, error: ApiError) -> JsonResponse:
    """The same body for what is answered outside of DRF."""
    return JsonResponse(error.body(request_id(request)), status=error.status, headers=error.headers)


@csrf_exempt  # nobody who writes to a path that is not there should hear of cookies
def path_not_found(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    message = "There is no such path in this API."
    return error_response(
        request, ApiError(Code.NOT_FOUND, message, fix="Paths begin with /v1/ and have no slash at the end.")
    )


def server_error(request: HttpRequest) -> JsonResponse:
    return error_response(request, our_fault())
