"""`has_item`: whether a JSON list holds a string, on both databases.

Django's own `contains` does not exist for SQLite. On PostgreSQL this is `@>`, which a GIN index serves.
"""

import json
from typing import Any

from django.db.models import JSONField, Lookup


@JSONField.register_lookup
class HasItem(Lookup[bool]):
    lookup_name = "has_item"
    prepare_rhs = False

    def get_db_prep_lookup(self, value: Any, connection: Any) -> tuple[str, tuple[str, ...]]:
        return "%s", (value,)

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} @> %s::jsonb", [*parameters, json.dumps([self.rhs])]

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE json_each.value = %s)", [*parameters, self.rhs]  # noqa: S608
