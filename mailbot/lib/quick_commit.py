"""Transactions whose loss with the server would change nothing."""

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
