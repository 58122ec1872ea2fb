"""One line of log for each request, and its time for /metrics.

It says who asked for what and what came of it: never a query string, a body or a header, and of the path only the route.
"""

from time import perf_counter

import structlog
from django.http import HttpRequest

from mailbot.lib import metrics

log = structlog.get_logger(__name__)

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds, and of no interest
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE = "(none)"
"""What no view answered: a path that does not exist, or a request that was refused before anybody looked at it."""


class Stopwatch:
    def __init__(self) -> None:
        self._began = perf_counter()

    def seconds(self) -> float:
        return perf_counter() - self._began


def note_request(*, method: str, route: str, status: int, seconds: float, **who: str) -> None:
    """`who`: request_id, key_id, user_id, account_id, inbox_id; what is not known is empty and left out."""
    method = method if method in METHODS else "other"
    metrics.note_request(method, route, status, seconds)
    write = log.debug if route in PROBES else log.info
    known = {name: value for name, value in who.items() if value}
    write("request", method=method, route=route, status=status, duration_ms=round(seconds * 1000, 1), **known)


def route_of(request: HttpRequest) -> str:
    """The pattern that the path has met, as the API's documentation writes it: `/v1/inboxes/{inbox_id}`."""
    match = request.resolver_match
    if match is None or match.route.startswith("^"):  # the last one, which takes what no other does
        return NO_ROUTE
    return "/" + _braced(match.route)


def _braced(route: str) -> str:
    parts = route.replace("<", "\0").replace(">", "\0").split("\0")
    return "".join("{" + part.rpartition(":")[2] + "}" if number % 2 else part for number, part in enumerate(parts))
