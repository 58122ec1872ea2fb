"""Lists: pages by number for everybody, cursors for those who read deep."""

import base64
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import IntegerField, Model, Q, QuerySet
from rest_framework import serializers
from rest_framework.response import Response

from mailbot.api.errors import invalid
from mailbot.api.renderers import timestamp

EXACT_TOTAL = 10_000


class PageQuery(serializers.Serializer[Any]):
    """`?page&limit`, or `?cursor&limit`."""

    page = serializers.IntegerField(min_value=1, max_value=1_000_000, default=1)
    limit = serializers.IntegerField(min_value=1, max_value=100, default=50)
    cursor = serializers.CharField(required=False, max_length=500)


def paginated(
    queryset: QuerySet[Any],
    query: dict[str, Any],
    represent: Callable[[list[Any]], Any],
    order: tuple[str, ...] = ("-id",),
    read: Callable[[QuerySet[Any]], list[Any]] = list,
    near: Callable[[list[Any] | None], Q | None] | None = None,
) -> Response:
    """One page of `queryset` in the envelope `{data, meta: {page, limit, total, next_cursor}}`.

    `order` names columns whose combination is unique (its last is the id). A cursor holds their values in the last row of a page,
    so that a deep page costs what the first does; `total` is exact up to 10,000. `read` gets the rows of the page. `near` says, of the
    values in the cursor, where the next ones mostly are: all others come behind these, and are asked for where they do not fill a page.
    """
    limit, page = query["limit"], query["page"]
    rows, after = queryset.order_by(*order), None
    if cursor := query.get("cursor"):
        after = decoded(cursor, order, queryset.model)
        rows = rows.filter(behind(after, order))
    begin = (page - 1) * limit if after is None else 0
    part = slice(begin, begin + limit + 1)
    nearest = near(after) if near else None
    found = read(rows.filter(nearest)[part]) if nearest is not None else []
    if len(found) <= limit:
        found = read(rows[part])
    total = _total(queryset, query, len(found))
    next_cursor = encoded(found[limit - 1], order) if len(found) > limit else None
    meta = {"page": page, "limit": limit, "total": min(total, EXACT_TOTAL), "next_cursor": next_cursor}
    if total > EXACT_TOTAL:
        meta["total_is_exact"] = False
    return Response({"data": represent(found[:limit]), "meta": meta})


def _total(queryset: QuerySet[Any], query: dict[str, Any], found: int) -> int:
    """Of a first page that is not full nothing more has to be asked."""
    if query["page"] == 1 and "cursor" not in query and found <= query["limit"]:
        return found
    return queryset.order_by().values("pk")[: EXACT_TOTAL + 1].count()


def encoded(row: Model, order: Iterable[str]) -> str:
    values = [getattr(row, name.removeprefix("-")) for name in order]
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def decoded(cursor: str, order: tuple[str, ...], model: type[Model]) -> list[Any]:
    """The values in a cursor. A cursor only says where to go on in a list that is scoped anyway, so it needs no signature."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if (
            len(values) != len(order)
            or not all(isinstance(value, int) or (isinstance(value, str) and value.isascii()) for value in values)
            or "\0" in str(values)
        ):
            raise ValueError("not a cursor of this list")
        fields: list[Any] = [model._meta.get_field(name.removeprefix("-")) for name in order]
        return [_read(field, value) for field, value in zip(fields, values, strict=True)]
    except (ValueError, TypeError, OverflowError, ValidationError) as error:
        raise invalid(
            "cursor", "This is not a cursor of this list.", "Use meta.next_cursor as it was given."
        ) from error


def _read(field: Any, value: Any) -> Any:
    if isinstance(field, IntegerField):
        return field.clean(value, None)
    read = field.to_python(value)
    # In UTC, and within its years: the database's driver would find out too late.
    return read.astimezone(UTC) if isinstance(read, datetime) else read


def behind(values: list[Any], order: tuple[str, ...]) -> Q:
    """Behind the row with these values. The bound on the first column alone follows from the rest of it, but of an OR no database begins
    an index in the middle: without it a deep page would read all rows before it."""
    first = order[0].removeprefix("-")
    bound = Q(**{f"{first}__{'lte' if order[0].startswith('-') else 'gte'}": values[0]})
    condition = Q()
    for position, name in enumerate(order):
        column = name.removeprefix("-")
        equal = {order[i].removeprefix("-"): values[i] for i in range(position)}
        condition |= Q(**equal, **{f"{column}__{'lt' if name.startswith('-') else 'gt'}": values[position]})
    return condition if len(order) == 1 else bound & condition


__all__ = ["PageQuery", "behind", "decoded", "encoded", "paginated", "timestamp"]
