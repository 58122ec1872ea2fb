"""The time: as the API shows it, as all processes share it, and as it passes whatever the clocks do."""

import time
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Q
from django.utils import timezone

LOCKS_TAKE = timedelta(minutes=1)  # at most, and then some


def this_millisecond() -> datetime:
    """Now, in whole milliseconds: what is stored is then what was shown, and `after=<the time shown>` means after it."""
    now = timezone.now()
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def database_now() -> datetime:
    """Now, by the clock of the database server, for times that one process writes and another one goes by.

    SQLite has no server: there it is the clock of the machine, which its processes share.
    """
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return now if isinstance(now, datetime) else timezone.now()


def is_over(column: str, now: datetime, longest: timedelta) -> Q:
    """Whether the time in `column` has come. Nobody writes one further ahead than `longest`: one that is comes from a clock which
    has been set back since, and must not hold anything up until that clock is there again.

    A statement may wait long for a row's lock after it looked at the clock, and then meets a time that was written meanwhile.
    """
    return Q(**{f"{column}__lte": now}) | Q(**{f"{column}__gt": now + longest + LOCKS_TAKE})


def over(column: str) -> str:
    """`is_over` in SQL; takes the two parameters of `limits`."""
    return f"({column} <= %s OR {column} > %s)"


def limits(now: datetime, longest: timedelta) -> list[Any]:
    adapt = connection.ops.adapt_datetimefield_value
    return [adapt(now), adapt(now + longest + LOCKS_TAKE)]


def steady_now() -> datetime:
    """A time that passes evenly from the start of the process on, and does not follow a clock that is set."""
    return _BEGAN + timedelta(seconds=time.monotonic() - _BEGAN_MONOTONIC)


_BEGAN, _BEGAN_MONOTONIC = timezone.now(), time.monotonic()
