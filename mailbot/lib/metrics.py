"""What is counted and timed, for Prometheus (mailbot.metrics shows it).

The processes of a machine count into files of one folder, METRICS_DIR, out of which any of them can add up what all have counted. No label
names a tenant or holds what a stranger chose. Without METRICS_TOKEN nobody can ask, and nothing is written.

A process writes to the files of a slot that it holds for as long as it lives. Who takes the slot next goes on where they stand: numbers
only grow, and there are no more files than there were processes at once.
"""

import fcntl
import logging
import os
from collections.abc import Callable
from functools import wraps
from itertools import count
from pathlib import Path
from typing import ParamSpec

from django.conf import settings
from prometheus_client import CollectorRegistry, Counter, Histogram, values

log = logging.getLogger(__name__)
P = ParamSpec("P")

# Octets of a slot's files, which grow by doubling. Written when they are made: a process that maps a file and finds no room for a page
# that it touches is ended by SIGBUS, and to count is not worth that.
ROOM = {"counter": 256 * 1024, "histogram": 2 * 1024 * 1024}


class Slots:
    """Gives each process, and each child of a fork, a number in `folder` that no other one has at the time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid, self._number, self._lock = 0, 0, -1

    def mine(self) -> int:
        """Raises OSError where the folder cannot be used."""
        if self._pid != os.getpid():
            inherited, self._lock = self._lock, -1
            if inherited >= 0:
                os.close(inherited)  # a lock is held until each process that has it open has closed it
            self._number, self._lock = self._take()
            self._pid = os.getpid()
        return self._number

    def _take(self) -> tuple[int, int]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in count():
            lock = os.open(self._folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._make_room(number)
            except BlockingIOError:
                os.close(lock)
            except BaseException:
                os.close(lock)
                raise
            else:
                return number, lock
        raise AssertionError  # count() has no end

    def _make_room(self, number: int) -> None:
        for kind, octets in ROOM.items():
            file = self._folder / f"{kind}_{number}.db"
            if not file.exists():
                draft = file.with_suffix(".draft")
                draft.write_bytes(bytes(octets))
                draft.rename(file)


def _count_together(folder: Path) -> None:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # the library reads it from there and nowhere else
    values.ValueClass = values.MultiProcessValue(Slots(folder).mine)  # type: ignore[no-untyped-call]


IS_ON = bool(settings.METRICS_TOKEN)
if IS_ON:
    try:
        _count_together(settings.METRICS_DIR)
    except OSError as error:
        log.warning("Nothing is counted: %s cannot be used (%s).", settings.METRICS_DIR, error)
        IS_ON = False

_own = CollectorRegistry()  # only so that two metrics cannot have one name: what is shown is read from the files
_REQUESTS = Histogram(
    "mailbot_http_request_duration_seconds",
    "From the first byte to the answer, by route and class of status. Waits are long by design.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=_own,
)
_RECEIVED = Counter(
    "mailbot_mails_received", "Deliveries that were stored and acknowledged.", ["source"], registry=_own
)
_PROCESSED = Counter(
    "mailbot_mails_processed",
    "Deliveries that a worker has worked on: processed (filed), retried later, failed for good.",
    ["outcome"],
    registry=_own,
)
_ATTEMPTS = Counter(
    "mailbot_send_attempts",
    "Tries to send a mail: sent, temporary, permanent, unknown, blocked.",
    ["esp", "outcome"],
    registry=_own,
)
_SETTLED = Counter(
    "mailbot_mails_settled",
    "What a mail became after a try: sent, queued (again), failed, unknown, blocked.",
    ["esp", "state"],
    registry=_own,
)
_PROVIDERS = Histogram(
    "mailbot_provider_duration_seconds",
    "From handing a mail over to the provider's answer, or to giving up on it.",
    ["esp", "outcome"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=_own,
)
_CALLS = Counter(
    "mailbot_webhook_calls",
    "Calls of ESPs that were checked and stored, by what they are for.",
    ["esp", "hook"],
    registry=_own,
)
_EVENTS = Counter(
    "mailbot_events",
    "Events that were recorded, by type; delivered, bounced, complained, … are news from providers.",
    ["type"],
    registry=_own,
)


def _harmless(note: Callable[P, None]) -> Callable[P, None]:
    """A number that cannot be written is lost, and nothing else is."""

    @wraps(note)
    def noted(*arguments: P.args, **options: P.kwargs) -> None:
        if not IS_ON:
            return
        try:
            note(*arguments, **options)
        except OSError as error:
            log.debug("%s is not counted: %s", note.__name__, error)

    return noted


@_harmless
def note_request(method: str, route: str, status: int, seconds: float) -> None:
    _REQUESTS.labels(method, route, f"{status // 100}xx").observe(seconds)


@_harmless
def note_received(source: str, mails: int) -> None:
    _RECEIVED.labels(source).inc(mails)


@_harmless
def note_processed(outcome: str, mails: int = 1) -> None:
    _PROCESSED.labels(outcome).inc(mails)


@_harmless
def note_handed_over(esp: str, outcome: str, seconds: float) -> None:
    _PROVIDERS.labels(esp, outcome).observe(seconds)


@_harmless
def note_settled(esp: str, outcome: str, state: str) -> None:
    _ATTEMPTS.labels(esp, outcome).inc()
    _SETTLED.labels(esp, state).inc()


@_harmless
def note_event(kind: str, number: int) -> None:
    _EVENTS.labels(kind).inc(number)


@_harmless
def note_call(esp: str, hook: str) -> None:
    _CALLS.labels(esp, hook).inc()
