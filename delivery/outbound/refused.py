"""What an exception of a backend says besides the ESP's own table: whether anything was sent at all, and how long to wait."""

import re
import smtplib
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from anymail.exceptions import (  # type: ignore[import-untyped]
    AnymailInvalidAddress,
    AnymailSerializationError,
    AnymailUnsupportedFeature,
)
from django.utils import timezone
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from delivery.outbound.outcomes import Outcome, Result

LONGEST_WAIT = timedelta(days=1)
TOO_MANY = 429  # RFC 6585 4: by the customer, and not by the mail
# Raised before a first octet of the request: no name, no route, no connection, no trust in whom we met. Or we were sent elsewhere, where
# we do not go.
NOT_CONNECTED = (
    requests.ConnectTimeout,
    requests.TooManyRedirects,
    ConnectTimeoutError,
    NewConnectionError,
    ConnectionRefusedError,
    ssl.SSLCertVerificationError,
    smtplib.SMTPConnectError,
)
UNFIT = (AnymailUnsupportedFeature, AnymailSerializationError, AnymailInvalidAddress)
_SECONDS = re.compile(r"\d{1,9}")


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it. urllib3 and requests keep the cause in `reason` or in their first argument, too."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args[:1]]


def was_not_connected(error: Exception) -> bool:
    """Whether the connection never stood, so that surely nothing was handed over."""
    return any(isinstance(each, NOT_CONNECTED) for each in chain(error))


def cannot_be_written(error: Exception, label: str) -> Outcome | None:
    """A mail that this provider's API has no words for: surely not sent, and no better at the next try."""
    if isinstance(error, UNFIT):
        return Outcome(Result.PERMANENT, f"{label} cannot carry this mail: {error}")
    return None


def wait_of(error: Exception) -> timedelta | None:
    """Retry-After (RFC 9110 10.2.3): seconds or a date; None where there is none that can be read. Never longer than a day."""
    value = _header(error, "retry-after")
    if _SECONDS.fullmatch(value):
        wait = timedelta(seconds=int(value))
    else:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        wait = (at if at.tzinfo else at.replace(tzinfo=UTC)) - _now()
    return min(max(wait, timedelta(0)), LONGEST_WAIT)


def _now() -> datetime:
    return timezone.now()


def status_of(error: Exception) -> int | None:
    status = getattr(error, "status_code", None)
    return status if status is not None else _metadata(error).get("HTTPStatusCode")


def _header(error: Exception, name: str) -> str:
    headers = getattr(getattr(error, "response", None), "headers", None) or _metadata(error).get("HTTPHeaders") or {}
    return str(headers.get(name, "")).strip()


def _metadata(error: Exception) -> dict[str, Any]:
    """Of a botocore ClientError, which Anymail's error has as its cause and whose answer is a dict."""
    answer = getattr(error.__cause__, "response", None)
    metadata = answer.get("ResponseMetadata") if isinstance(answer, dict) else None
    return metadata if isinstance(metadata, dict) else {}
