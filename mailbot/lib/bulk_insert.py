"""Many rows at once, as fast as the database takes them."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import orjson
from django.db import connection
from django.db.models import Field, JSONField, Model


def bulk_insert(rows: Sequence[Model]) -> None:
    """Insert rows of one model whose keys are made already, in the caller's transaction.

    COPY on PostgreSQL: bulk_create makes an array of every column first and passes each value through its field, which costs more
    than the INSERT itself (docs/decisions/0006). Elsewhere it is bulk_create. No signals are sent, as with bulk_create. The values must
    be what the columns hold: strings, numbers, aware times, plain JSON.
    """
    if not rows:
        return
    model = type(rows[0])
    if connection.vendor != "postgresql":
        model._default_manager.bulk_create(rows)
        return
    statement, values_of, json_columns = _copy_plan(model)
    # Django wraps the errors of its own cursor's methods, and copy is none of them.
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            values = list(values_of(row))
            for column in json_columns:
                values[column] = _as_json(values[column])
            copy.write_row(values)
    for row in rows:
        row._state.adding = False


@cache
def _copy_plan(model: type[Model]) -> tuple[str, Callable[[Model], tuple[Any, ...]], list[int]]:
    """(statement, how to get a row's values, which of them are JSON)"""
    # An auto key is the database's to give.
    fields: list[Field[Any, Any]] = [field for field in model._meta.concrete_fields if not field.db_returning]
    names = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    statement = f"COPY {connection.ops.quote_name(model._meta.db_table)} ({names}) FROM STDIN"
    json_columns = [number for number, field in enumerate(fields) if isinstance(field, JSONField)]
    return statement, attrgetter(*(field.attname for field in fields)), json_columns


def _as_json(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a whole number of more than 64 bits
        return json.dumps(value)
