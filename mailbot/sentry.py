"""Faults of ours, told to Sentry: where in the code, in which version, in whose request. Nothing of what mail says leaves this server.

So what goes is a list of what may, and not all but what was thought of. A log line goes as its template without what was put into it, and
of exceptions only those have their text that never quote their input. The tag `request_id` leads to the rest, in the log.

The library comes with mailbot, so that a DSN is all that it takes, and is imported only where there is one.
"""

import re
from typing import Any

import sentry_sdk
from django.conf import settings
from sentry_sdk.integrations.argv import ArgvIntegration
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.stdlib import StdlibIntegration
from sentry_sdk.types import Event, Hint
from structlog.contextvars import get_contextvars

from mailbot.lib.stray_keys import without_keys

MAY_GO = frozenset(
    "event_id timestamp platform level logger release environment server_name transaction transaction_info sdk modules"
    " exception logentry request threads fingerprint type".split()
)
# They speak of code, places and tables. Others quote what they could not read.
TEXT_MAY_GO = frozenset(
    "AttributeError TypeError NameError UnboundLocalError ImportError ModuleNotFoundError RecursionError MemoryError"
    " ConnectionError ConnectionRefusedError ConnectionResetError BrokenPipeError TimeoutError FileNotFoundError PermissionError"
    " OperationalError InterfaceError ProgrammingError IntegrityError Unscoped".split()
)
TAGS = ("request_id", "mail_id", "inbox_id")
LONGEST = 300
_CREDENTIALS = re.compile(r"//[^/@\s]+@")
_ADDRESS = re.compile(r"[^\s<>\"'(),;:=]+@[^\s<>\"'(),;:]+")


def start() -> None:
    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        environment=settings.SENTRY_ENVIRONMENT,
        release=f"mailbot@{settings.VERSION}",
        before_send=without_content,
        send_default_pii=False,
        max_request_body_size="never",
        include_local_variables=False,
        max_breadcrumbs=0,
        auto_session_tracking=False,
        auto_enabling_integrations=False,
        # The first sends command lines; the second marks our requests to providers with ids of its own.
        disabled_integrations=[ArgvIntegration(), StdlibIntegration()],
        integrations=[
            DjangoIntegration(middleware_spans=False, signals_spans=False),
            CeleryIntegration(propagate_traces=False),
        ],
        trace_propagation_targets=[],
    )


def without_content(event: Event, hint: Hint) -> Event:
    kept: dict[str, Any] = {name: value for name, value in event.items() if name in MAY_GO}
    for exception in (kept.get("exception") or {}).get("values", ()):
        is_harmless = exception.get("type") in TEXT_MAY_GO
        exception["value"] = _shown(exception.get("value")) if is_harmless else "(not sent: it may quote mail)"
    if entry := kept.get("logentry"):
        kept["logentry"] = {"message": _shown(entry.get("message"))}
    if request := kept.get("request"):
        url = str(request.get("url", "")).partition("?")[0]
        kept["request"] = {"method": request.get("method"), "url": _shown(url)}
    bound = get_contextvars()
    kept["tags"] = {name: str(bound[name]) for name in TAGS if name in bound}
    return kept  # type: ignore[return-value]  # a part of an Event is one


def _shown(text: object) -> str:
    """The first line: behind it PostgreSQL shows the row."""
    line = next(iter(str(text).splitlines()), "")
    return without_keys(_ADDRESS.sub("<address>", _CREDENTIALS.sub("//…@", line)))[:LONGEST]
