"""Transactions that are told more than Django can say: what may be lost with the server, how to read a queue, who else is at it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def quick_commit() -> Iterator[None]:
    """A transaction that does not wait for the disk where the database lets one choose (PostgreSQL, `synchronous_commit`).

    For leases: what PostgreSQL forgets when it crashes within a second is as if it had not been claimed or given back, and a lease runs
    out by itself. It is no weaker against the death of our own processes. Not for anything that a caller is promised.
    """
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL synchronous_commit = off")
        yield


@contextmanager
def read_in_order() -> Iterator[None]:
    """Inside, PostgreSQL follows an index that is in the order asked for, and sorts nothing. Needs an open transaction.

    For a LIMIT on a queue: where the statistics know nothing of a backlog, its planner reads and sorts all of it for the first few rows.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
        yield
        cursor.execute("SET LOCAL enable_bitmapscan = on; SET LOCAL enable_sort = on")


def is_alone_with(number: int) -> bool:
    """Whether no other open transaction has asked this for the same number (64 bits, signed). Does not wait. Needs an open transaction.

    SQLite has one writer at a time: whoever has begun to write is alone.
    """
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        (is_alone,) = cursor.fetchone()
    return bool(is_alone)


def number_of(what: str) -> int:
    """The same one for the same words, wherever it is asked: 64 bits, signed, for the locks here."""
    return int.from_bytes(hashlib.blake2b(what.encode(), digest_size=8).digest(), "big", signed=True)


def share_until_commit(number: int) -> None:
    """Keep out whoever takes the same number (64 bits, signed) until the end of the open transaction; others may share it. Waits.

    SQLite has one writer at a time: who has begun to write is alone.
    """
    _lock("pg_advisory_xact_lock_shared", number)


def take_until_commit(number: int) -> None:
    """Have the number alone until the end of the open transaction. Waits for who shares it, and those who want to share it then wait."""
    _lock("pg_advisory_xact_lock", number)


def _lock(function: str, number: int) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(%s)", [number])
