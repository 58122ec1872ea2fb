"""Reading what an ESP sends to us, and fetching what it keeps for us."""

import json
from collections.abc import Callable, Mapping
from email.utils import getaddresses
from io import BytesIO
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http.multipartparser import MultiPartParser

from mailbot.lib.safe_fetch import FetchFailed, fetch
from threads.mime import parse_mail

FETCHED_WITHIN = 60.0  # seconds
LONGEST_ANSWER = 1024 * 1024  # octets of an API's JSON
# Headers in which those who carried a mail wrote whom it was for, the surest first.
_ENVELOPE_HEADERS = ("delivered-to", "x-original-to", "envelope-to")


def json_of(request: Any) -> Any:
    return _read_once(request, "json", lambda: json.loads(request.body.decode("utf-8")))


def is_json(request: Any) -> bool:
    return bool(request.content_type == "application/json")


def form_of(request: Any) -> dict[str, bytes]:
    """The fields of a form as octets: Django's own reading makes text of them, and of a raw mail in one something else."""
    fields: dict[str, bytes] = _read_once(request, "form", lambda: _fields(request))
    return fields


def _read_once(request: Any, name: str, read: Callable[[], Any]) -> Any:
    """Checking a call, finding what it names and taking its mail ask the same; with a mail in it, it is long."""
    kept = request.__dict__.setdefault("_read_as", {})
    if name not in kept:
        kept[name] = read()
    return kept[name]


def _fields(request: Any) -> dict[str, bytes]:
    if request.content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(request.body, keep_blank_values=True))
    # Each octet is one character of Latin-1.
    parser = MultiPartParser(request.META, BytesIO(request.body), [MemoryFileUploadHandler(request)], "latin-1")
    fields, _ = parser.parse()
    return {name: str(value).encode("latin-1") for name, value in fields.items()}


def text_of(request: Any, name: str) -> str:
    return form_of(request).get(name, b"").decode("utf-8", "replace")


def rebuilt(message: Any) -> bytes:
    """A mail out of the fields that an ESP gives instead of it."""
    octets: bytes = message.as_bytes()
    return octets


def asked_json(url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Raises FetchFailed."""
    answer = fetch(url, most=LONGEST_ANSWER, seconds=FETCHED_WITHIN, headers=headers)
    try:
        told = json.loads(answer.content)
    except ValueError as error:
        raise FetchFailed(f"{url} answers with no JSON.", is_temporary=True) from error
    return told if isinstance(told, dict) else {}


def downloaded(url: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Raises FetchFailed."""
    return fetch(url, most=settings.SMTP_MAX_SIZE, seconds=FETCHED_WITHIN, headers=headers).content


class Files:
    """Those of one mail, of which each has an address of its own: however many, together they take no longer than one, and are no larger
    than a mail may be."""

    def __init__(self) -> None:
        self._ends = monotonic() + FETCHED_WITHIN
        self._room = settings.SMTP_MAX_SIZE * 3 // 4  # base64 makes four octets of three

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Raises FetchFailed."""
        content = fetch(url, most=self._room, seconds=self._ends - monotonic(), headers=headers).content
        self._room -= len(content)
        return content


def recipients_in(raw: bytes, told: Any = None) -> tuple[str, ...]:
    """Whom a mail was for, where the ESP has no envelope: as it tells, or as those wrote who carried it, or as it is addressed."""
    if told:
        return tuple(address for _, address in getaddresses([told] if isinstance(told, str) else list(told)))
    parsed = parse_mail(raw)
    named = {name.lower(): value for name, value in reversed(parsed.headers)}
    for header in _ENVELOPE_HEADERS:
        if header in named:
            return tuple(address for _, address in getaddresses([named[header]]) if address)
    return tuple(one.address for one in (*parsed.to, *parsed.cc))
