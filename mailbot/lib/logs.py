"""How this process logs: one line for each thing that happened, as JSON or for a person at a terminal.

Everything goes through the standard library's logging, whoever wrote it, and leaves through one formatter. What was bound by
`structlog.contextvars` (the id of the request, above all) stands in every line that is written meanwhile.
"""

import logging
import sys
from typing import Any

import orjson
import structlog
from structlog.typing import Processor

from mailbot.lib.stray_keys import without_keys

JSON, CONSOLE = "json", "console"
FORMATS = (JSON, CONSOLE)

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class KeylessFormatter(structlog.stdlib.ProcessorFormatter):
    """Writes no key to a log, wherever in a line or a traceback one may stand.

    Tracebacks are without the values of variables: those hold mail.
    """

    def __init__(self, form: str = CONSOLE) -> None:
        last = _json() if form == JSON else _console()
        super().__init__(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )

    def format(self, record: logging.LogRecord) -> str:
        return without_keys(super().format(record))


def _json() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.JSONRenderer(serializer=_dumped),
    ]


def _dumped(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode("utf-8", "replace")


def _console() -> list[Processor]:
    colors = sys.stderr.isatty()
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]


def default_format(*, is_production: bool) -> str:
    """JSON where a program reads: in production, unless a person looks on."""
    return JSON if is_production and not sys.stderr.isatty() else CONSOLE


def logging_settings(form: str, level: str) -> dict[str, Any]:
    """Django's LOGGING. Afterwards `structlog.get_logger` writes to the same place."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.captureWarnings(form == JSON)  # they are lines, too
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "mailbot.lib.logs.KeylessFormatter", "form": form}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django.server": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},  # a caller's mistake is answered, not logged
            "mail.log": {"level": "WARNING"},
            "celery": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},  # it tells of each request with its URL
            "uvicorn": {"handlers": [], "propagate": True},  # uvicorn gave it a handler and a form of its own
            "uvicorn.access": {"level": "WARNING"},
        },
    }
