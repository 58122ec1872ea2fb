"""Rows as answers need them: the columns that are shown, at a fraction of what Django's own instances cost.

An instance passes each of its columns through signals and deferred attributes, and a page of a list makes fifty of them. What each step
bought is in docs/decisions/0010. The counterpart for writing is mailbot.lib.bulk.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from django.db.models import Expression, Func, Model, QuerySet, TextField
from django.db.models.base import ModelState

Row = TypeVar("Row", bound=Model)


class Beginning(Func):
    """The first `most` characters of a column of text."""

    template = "SUBSTR(%(expressions)s, 1, %(most)d)"
    output_field = TextField()

    def __init__(self, column: str, most: int) -> None:
        super().__init__(column, most=most)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """It counts the characters to take a piece of a text; how many octets there are it knows, and mostly those are few enough."""
        template = f"CASE WHEN octet_length(%(expressions)s) <= %(most)d THEN %(expressions)s ELSE {self.template} END"
        return self.as_sql(compiler, connection, template=template, **context)


def read_rows(rows: QuerySet[Row], columns: Sequence[str], **instead: Expression) -> list[Row]:
    """Instances that have these columns, by their own names (`inbox_id`, not `inbox`), and in those of `instead` what it says.

    They are for reading. What is asked of one beyond that is a query of its own, as after `only`. No signals, no prefetching.
    """
    found = rows.prefetch_related(None).values_list(*(instead.get(name, name) for name in columns))
    return [_row(rows.model, rows.db, dict(zip(columns, values, strict=True))) for values in found]


def _row(model: type[Row], database: str, values: dict[str, Any]) -> Row:
    row = model.__new__(model)
    row.__dict__ = values
    row._state = state = ModelState()
    state.db, state.adding = database, False
    return row
