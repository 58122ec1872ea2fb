"""GET /readyz: whether everything is there that this mailbot needs, and if not, what is missing.

Each part is asked at the same time, and none for longer than ANSWERS_WITHIN. Anybody may ask: the answer names parts and no places.
"""

import logging
from collections.abc import Callable, Iterator
from functools import cache
from time import monotonic

import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from redis.backoff import NoBackoff
from redis.retry import Retry

from delivery.heartbeat import LATE_AFTER, since_heartbeat
from mailbot.lib import object_store
from mailbot.lib.questions import NoAnswer, Question, answer_of
from mailbot.lib.scope import acting_for_everybody
from mailbot.lib.wall_inspection import Level, inspect

log = logging.getLogger(__name__)

ANSWERS_WITHIN = 3.0  # seconds
PARTS = ("database", "migrations", "walls", "workers", "redis", "store")
Reasons = dict[str, str]
"""What is wrong, by part; empty: nothing."""


def readyz(request: HttpRequest) -> JsonResponse:
    """`?without=workers,store` leaves parts out of the verdict, for who asks whether to send requests to this process."""
    without = [name for name in request.GET.get("without", "").split(",") if name]
    if unknown := set(without) - set(PARTS):
        return JsonResponse({"status": "unknown part", "unknown": sorted(unknown), "parts": PARTS}, status=400)
    reasons = {part: reason for part, reason in _asked().items() if part not in without}
    missing = [part for part, reason in reasons.items() if reason]
    parts = {part: {"status": "missing", "reason": why} if why else {"status": "ok"} for part, why in reasons.items()}
    answer = {"status": "unavailable" if missing else "ready", "missing": missing, "parts": parts}
    response = JsonResponse(answer, status=503 if missing else 200, headers={"Cache-Control": "no-store"})
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django would log an error at each probe; see _tell
    return response


def _asked() -> Reasons:
    """All that is configured, in the order of PARTS."""
    questions = [_database, *([_redis] if settings.REDIS_URL else []), *([_store] if settings.S3_BUCKET else [])]
    ends = monotonic() + ANSWERS_WITHIN
    started = [(question, question.start()) for question in questions]
    found: Reasons = {}
    for question, asked in started:
        try:
            answer = answer_of(asked, ends - monotonic())
        except NoAnswer:
            answer = _silent(question)
        found |= answer
    _tell(found)
    return found


def _silent(question: "Question[Reasons]") -> Reasons:
    reason = f"No answer within {ANSWERS_WITHIN:.0f} s."
    if question is _database:
        return {"database": reason, **_not_asked()}
    return {"redis" if question is _redis else "store": reason}


def _not_asked() -> Reasons:
    """Of what is read in the database, while that is not there."""
    names = ["migrations", *(["walls"] if connection.vendor == "postgresql" else []), "workers"]
    return dict.fromkeys(names, "Not known without the database.")


def _ask_database() -> Reasons:
    with acting_for_everybody("whether it is there belongs to no account"):
        try:
            connection.ensure_connection()
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except Exception as error:
            log.debug("The database cannot be used: %s", error)
            return {"database": "It cannot be reached.", **_not_asked()}
        return {"database": "", **dict(_in_the_database())}


def _in_the_database() -> Iterator[tuple[str, str]]:
    yield "migrations", _why("migrations", _migrations)
    if connection.vendor == "postgresql":
        yield "walls", _why("walls", _walls)
    yield "workers", _why("workers", _workers)


def _why(part: str, question: Callable[[], str]) -> str:
    try:
        return question()
    except Exception as error:
        log.debug("%s: %s", part, error)
        return "It cannot be found out."


def _migrations() -> str:
    missing = len(_wanted_migrations() - set(MigrationRecorder(connection).applied_migrations()))
    return f"{missing} not applied: run `manage.py migrate`." if missing else ""


@cache
def _wanted_migrations() -> frozenset[tuple[str, str]]:
    """Of this version: read from disk once."""
    return frozenset(MigrationLoader(None).disk_migrations or {})


def _walls() -> str:
    gaps = sum(finding.level is Level.MISSING for finding in inspect(connection))
    return f"{gaps} not standing: run `manage.py check_isolation`." if gaps else ""


def _workers() -> str:
    since = since_heartbeat()
    if since is None:
        return "No worker has done anything yet: beat, the broker or the workers are missing."
    if since > LATE_AFTER:
        return f"No worker has done anything for {since.total_seconds():.0f} s: beat, the broker or the workers are missing."
    return ""


def _ask_redis() -> Reasons:
    within = {"socket_timeout": ANSWERS_WITHIN, "socket_connect_timeout": ANSWERS_WITHIN}
    try:
        with redis.Redis.from_url(settings.REDIS_URL, retry=Retry(NoBackoff(), 0), **within) as asked:
            asked.ping()
    except redis.RedisError as error:
        log.debug("Redis cannot be used: %s", error)
        return {"redis": "It cannot be reached."}
    return {"redis": ""}


def _ask_store() -> Reasons:
    """Whether a name is there that nobody has given: asks for the same rights and the same way as reading does."""
    try:
        object_store.exists("readyz")
    except object_store.StoreUnavailable as error:
        log.debug("The object store cannot be used: %s", error)
        return {"store": "It cannot be used."}
    return {"store": ""}


_database = Question(_ask_database, "ready-database")
_redis = Question(_ask_redis, "ready-redis")
_store = Question(_ask_store, "ready-store")
_told: Reasons = {}


def _tell(found: Reasons) -> None:
    """Log what has changed, and not at each probe."""
    for part, reason in found.items():
        before = _told.get(part, "")
        _told[part] = reason
        if reason and not before:
            log.warning("Not ready, %s: %s", part, reason)
        elif before and not reason:
            log.warning("Ready again: %s", part)
