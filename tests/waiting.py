"""Until another session waits for a lock of ours, on PostgreSQL: then both are where a test wants them."""

import time
from collections.abc import Callable
from typing import Any

from django.db import connection

PATIENCE = 30.0  # seconds
# Not pg_stat_activity: inside a transaction that says what was so when it was asked first, and of other roles nothing.
WAITS_FOR_US = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"


def until_somebody_waits(execute: Callable[[str], Any] | None = None) -> None:
    """`execute` is that of the session which holds the lock; Django's own without it."""
    ends = time.monotonic() + PATIENCE
    while _number(execute) == 0:
        assert time.monotonic() < ends, "Nobody waits for a lock of ours."
        time.sleep(0.01)


def _number(execute: Callable[[str], Any] | None) -> int:
    if execute is not None:
        return int(execute(WAITS_FOR_US).fetchone()[0])
    with connection.cursor() as cursor:
        cursor.execute(WAITS_FOR_US)
        return int(cursor.fetchone()[0])
