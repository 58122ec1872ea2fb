"""Many rows at once, as fast as the database takes them.

Django's own ways cost more than the database does: an instance passes each of its columns through descriptors and signals, bulk_create
passes each value through its field, bulk_update builds a CASE of a thousand branches (docs/decisions/0006 and 0008). What is here sends
no signals and knows plain columns only: strings, numbers, aware times, bytes, JSON.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import orjson
from django.db import connection, transaction
from django.db.models import DateTimeField, Field, JSONField, Model
from django.db.models.base import ModelState

from mailbot.lib import scope
from mailbot.lib.tenants import TenantManager

Row = TypeVar("Row", bound=Model)
Item = TypeVar("Item")
Values = list[Any]
AnyField = Field[Any, Any]
ADDED_AT_ONCE = 1000  # rows a statement: SQLite takes 32,766 parameters
FEW = 10  # rows for which a COPY, which takes two round trips, is not worth it


def new_row(model: type[Row], **columns: Any) -> Row:
    """An instance that is not stored yet, like `model(**columns)` at a tenth of the cost: for rows that are made by the hundred.

    Columns go by their own names (`inbox_id`, not `inbox`) and take what they hold. Raises TypeError for a name that is none.
    """
    constants, made = _defaults(model)
    row = model.__new__(model)
    values = row.__dict__
    values.update(constants)
    for name, make in made:
        if name not in columns:
            values[name] = make()
    values.update(columns)
    if len(values) != len(model._meta.concrete_fields):
        known = {field.attname for field in model._meta.concrete_fields}
        raise TypeError(f"{model.__name__} has no columns {', '.join(sorted(columns.keys() - known))}")
    row._state = ModelState()
    return row


def copied(row: Row) -> Row:
    """Another instance with the same values, to be changed apart. `copy.copy` of one takes six times as long."""
    new = type(row).__new__(type(row))
    new.__dict__.update(row.__dict__)
    new._state = ModelState()
    new._state.adding, new._state.db = row._state.adding, row._state.db
    return new


def bulk_insert(rows: Sequence[Model], *, unless_there: bool = False) -> None:
    """Insert rows of one model whose keys are made already, all or none, in the caller's transaction if there is one: by COPY on
    PostgreSQL, but for a few.

    `unless_there`: a row that a unique constraint refuses is left out.
    """
    if not rows:
        return
    plan = _insert_plan(type(rows[0]), scope.current().reach)
    values = map(plan.values_of, rows)
    unless = " ON CONFLICT DO NOTHING" if unless_there else ""
    if connection.vendor != "postgresql":
        _run_for_each(plan.insert + plan.places + unless, values)
    elif len(rows) > FEW and not unless_there:
        _copy(plan, values)
    else:
        with connection.cursor() as cursor:
            places = _list_of([plan.places] * len(rows))
            cursor.execute(plan.insert + places + unless, [value for row in values for value in row])
    for row in rows:
        row._state.adding = False


def bulk_set(rows: Sequence[Model], *columns: str) -> None:
    """Write these columns of rows of one model, each to the row of its key, in the caller's transaction."""
    if not rows:
        return
    meta = rows[0]._meta
    by_name = {field.attname: field for field in meta.concrete_fields}
    fields, key = [by_name[column] for column in columns], by_name[meta.pk.attname]
    values = map(_reader([*fields, key]), rows)
    if connection.vendor == "postgresql":
        _set_all(meta.db_table, fields, key, values)
    else:
        changes = _list_of(f"{_quoted(field.column)} = %s" for field in fields)
        where = f"WHERE {_quoted(key.column)} = %s"
        _run_for_each(f"UPDATE {_quoted(meta.db_table)} SET {changes} {where}", values)  # noqa: S608 (our names)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """So many at a time: a database takes only so many parameters, and memory only so many rows."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def bulk_add(
    model: type[Model], columns: Sequence[str], key: Sequence[str], counted: Sequence[str], rows: Iterable[Values]
) -> None:
    """Add what is `counted` to the rows of these keys, or make the rows, in the caller's transaction: exact, whoever else adds meanwhile.

    `rows` hold `columns`, among which are `key`, which is unique, and `counted`, as the database takes them; no key comes twice. Two
    callers that add to the same rows in another order could wait for each other: sort them, or hold a lock.
    """
    table = model._meta.db_table
    changes = _list_of(f"{column} = {table}.{column} + excluded.{column}" for column in counted)
    end = f"ON CONFLICT ({_list_of(key)}) DO UPDATE SET {changes}"
    for piece in batches(rows, ADDED_AT_ONCE):
        values = _list_of([places(len(columns))] * len(piece))
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} ({_list_of(columns)}) VALUES {values} {end}",  # noqa: S608 (our names)
                [value for row in piece for value in row],
            )


def _copy(plan: "_InsertPlan", values: Iterable[Values]) -> None:
    """PostgreSQL refuses a COPY into a table with row-level security: there the rows go by way of a table of the session's own, in one
    transaction, at whose end that is empty."""
    with transaction.atomic(savepoint=False) if plan.before_copy else nullcontext(), connection.cursor() as cursor:
        connection.enter_scope()  # type: ignore[attr-defined]  # of postgresql_walls; a COPY passes its wrapper by
        for statement in plan.before_copy:
            cursor.execute(statement)
        # Django wraps the errors of its own cursor's methods, and copy is none of them.
        with connection.wrap_database_errors, cursor.copy(plan.copy) as copy:
            for row in values:
                copy.write_row(row)
        for statement in plan.after_copy:
            cursor.execute(statement)


def _run_for_each(statement: str, values: Iterable[Values]) -> None:
    first, *rest = values
    if not rest:
        with connection.cursor() as cursor:
            cursor.execute(statement, first)
        return
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        cursor.executemany(statement, [first, *rest])


def _set_all(table: str, fields: Sequence[AnyField], key: AnyField, values: Iterable[Values]) -> None:
    """One statement, planned once. A list of VALUES has no types of its own, so each column is cast to what it is."""
    given = list(values)
    changes = _list_of(f"{_quoted(f.column)} = v.{_quoted(f.column)}::{f.db_type(connection)}" for f in fields)
    names = _list_of(_quoted(field.column) for field in [*fields, key])
    rows = _list_of([places(len(given[0]))] * len(given))
    where = f"WHERE t.{_quoted(key.column)} = v.{_quoted(key.column)}"
    statement = f"UPDATE {_quoted(table)} t SET {changes} FROM (VALUES {rows}) AS v ({names}) {where}"  # noqa: S608 (our names)
    with connection.cursor() as cursor:
        cursor.execute(statement, [value for row in given for value in row])


@cache
def _defaults(model: type[Model]) -> tuple[dict[str, Any], list[tuple[str, Callable[[], Any]]]]:
    """Values that are the same for all rows, and what makes the others."""
    fields = model._meta.concrete_fields
    calls = {field.attname: field.default for field in fields if field.has_default() and callable(field.default)}
    constants = {field.attname: field.get_default() for field in fields if field.attname not in calls}
    return constants, list(calls.items())


class _InsertPlan(NamedTuple):
    values_of: Callable[[Model], Values]
    before_copy: list[str]
    copy: str
    after_copy: list[str]
    insert: str  # `places` of each row follow
    places: str


@cache
def _insert_plan(model: type[Model], reach: scope.Reach) -> _InsertPlan:
    # An auto key is the database's to give.
    fields = [field for field in model._meta.concrete_fields if not field.db_returning]
    table, names = _quoted(model._meta.db_table), _list_of(_quoted(field.column) for field in fields)
    insert = f"INSERT INTO {table} ({names}) VALUES "  # noqa: S608 (our names)
    if not isinstance(model._default_manager, TenantManager):
        return _InsertPlan(_reader(fields), [], f"COPY {table} ({names}) FROM STDIN", [], insert, places(len(fields)))
    # Each role has its own: what one has made in a session, no other may touch.
    staged = _quoted(f"staged_{reach.value}_{model._meta.db_table}")
    # Without its constraints and defaults, which `table` has. It is emptied by each commit, or dead rows would pile up in it.
    make = f"CREATE TEMPORARY TABLE IF NOT EXISTS {staged} ON COMMIT DELETE ROWS AS SELECT {names} FROM {table} WITH NO DATA"  # noqa: S608
    move = f"WITH moved AS (DELETE FROM {staged} RETURNING *) INSERT INTO {table} ({names}) SELECT {names} FROM moved"  # noqa: S608
    return _InsertPlan(
        _reader(fields), [make], f"COPY {staged} ({names}) FROM STDIN", [move], insert, places(len(fields))
    )


def _reader(fields: Sequence[AnyField]) -> Callable[[Model], Values]:
    """What takes these columns of a row as the database takes them."""
    values_of = attrgetter(*(field.attname for field in fields))
    converted = [(number, convert) for number, field in enumerate(fields) if (convert := _converter(field))]

    def read(row: Model) -> Values:
        values = list(values_of(row))
        for number, convert in converted:
            values[number] = convert(values[number])
        return values

    return read


def _converter(field: AnyField) -> Callable[[Any], Any] | None:
    if isinstance(field, JSONField):
        return _as_json
    if isinstance(field, DateTimeField) and connection.vendor != "postgresql":
        return connection.ops.adapt_datetimefield_value
    return None


def _as_json(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a whole number of more than 64 bits
        return json.dumps(value)


def places(number: int) -> str:
    """For so many parameters in SQL, in an IN or as a row of VALUES: `(%s, %s)`."""
    return f"({_list_of(['%s'] * number)})"


def _list_of(items: Iterable[str]) -> str:
    return ", ".join(items)


def _quoted(name: str | None) -> str:
    return connection.ops.quote_name(str(name))
