"""How values travel to PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def parameters_apart() -> Iterator[None]:
    """Inside, values go beside the statement and not in it: binary ones as they are.

    Django writes values into the statement, and COPY writes them as text. For 30 MiB of a mail either takes 0.3 to 0.5 s of CPU, during
    which no other thread of the process runs, and more memory. Needs an open transaction, so that the connection stays the same.
    Does nothing on SQLite.
    """
    if connection.vendor != "postgresql":
        yield
        return
    from django.db.backends.postgresql.base import ServerBindingCursor  # needs psycopg

    usual = connection.connection.cursor_factory
    connection.connection.cursor_factory = ServerBindingCursor
    try:
        yield
    finally:
        connection.connection.cursor_factory = usual
