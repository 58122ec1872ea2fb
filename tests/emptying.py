"""Emptying the tables behind a test that commits.

Django's flush truncates every table, for which PostgreSQL makes some two hundred files anew, and then misses all content types and
permissions and makes those anew. Here only rows go, of the tables that have any; and what `migrate` put there for good stays.
"""

from django.core.management.color import no_style
from django.db import connection, transaction

from audit.append_only import FLUSH, letting_through
from mailbot.lib.scope import OWNER, acting_within

KEPT = frozenset({"django_content_type", "auth_permission"})


def empty_tables() -> None:
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    with acting_within(OWNER), letting_through(FLUSH, connection):
        if filled := _filled(sorted(set(names) - KEPT)):
            _delete(filled)


def _filled(tables: list[str]) -> list[str]:
    asked = (f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {_quoted(table)})" for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(asked))
        return [table for (table,) in cursor.fetchall()]


def _delete(tables: list[str]) -> None:
    if connection.vendor != "postgresql":
        connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables))
        return
    # One statement: keys between the tables are looked at behind it, whether they can be deferred or not.
    parts = [f"_{number} AS (DELETE FROM {_quoted(table)})" for number, table in enumerate(tables)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"WITH {', '.join(parts)} SELECT")


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)
