"""Looking into JSON lists, on both databases."""

import json
from typing import Any

from django.db.models import JSONField, Lookup


class ListLookup(Lookup[bool]):
    """What is looked for is a plain string and no JSON."""

    prepare_rhs = False

    def get_db_prep_lookup(self, value: Any, connection: Any) -> tuple[str, tuple[str, ...]]:
        return "%s", (value,)


@JSONField.register_lookup
class HasItem(ListLookup):
    """`has_item`: whether a list holds a string.

    Django's own `contains` does not exist for SQLite. On PostgreSQL this is `@>`, which a GIN index serves.
    """

    lookup_name = "has_item"

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} @> %s::jsonb", [*parameters, json.dumps([self.rhs])]

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE json_each.value = %s)", [*parameters, self.rhs]  # noqa: S608


@JSONField.register_lookup
class HasAddressLike(ListLookup):
    """`has_address_like`: whether an entry of a list of `{name, address}` has this text in its address, in any case."""

    lookup_name = "has_address_like"

    def _pattern(self) -> str:
        escaped = self.rhs.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return f"%{escaped}%"

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        entries = f"jsonb_array_elements({column}) AS entry"
        return f"EXISTS (SELECT 1 FROM {entries} WHERE entry->>'address' ILIKE %s)", [*parameters, self._pattern()]  # noqa: S608

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        address = "json_extract(json_each.value, '$.address')"
        sql = f"EXISTS (SELECT 1 FROM json_each({column}) WHERE {address} LIKE %s ESCAPE '\\')"  # noqa: S608
        return sql, [*parameters, self._pattern()]


@JSONField.register_lookup
class IsWithin(Lookup[bool]):
    """`is_within`: whether a list of strings holds nothing but these. SQL NULL, which is no list, is not within anything."""

    lookup_name = "is_within"
    prepare_rhs = False

    def get_db_prep_lookup(self, value: Any, connection: Any) -> tuple[str, tuple[str, ...]]:
        return "%s", (json.dumps(list(value)),)

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} <@ %s::jsonb", [*parameters, json.dumps(list(self.rhs))]

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        others = f"SELECT 1 FROM json_each({column}) AS mine WHERE mine.value NOT IN (SELECT value FROM json_each(%s))"  # noqa: S608
        sql = f"({column} IS NOT NULL AND NOT EXISTS ({others}))"
        return sql, [*parameters, *parameters, json.dumps(list(self.rhs))]
