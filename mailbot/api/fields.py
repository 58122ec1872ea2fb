"""Fields that Django REST framework has none for, or one that says too little."""

import difflib
from typing import Any, NoReturn

from rest_framework import serializers


class StoredField(serializers.JSONField):
    """A JSON column that is answered as it is stored. `shape` is its type as the schema states it: `list[str]`, a TypedDict, …"""

    def __init__(self, shape: Any, **options: Any) -> None:
        self.openapi = shape
        super().__init__(read_only=True, **options)


class OneOf(serializers.ChoiceField):
    """A closed list of values in a query or body. What is none of them is answered with all of them, and with the nearest."""

    default_error_messages = {"invalid_choice": "“{input}” is none of: {all}.{nearest}"}

    def fail(self, key: str, **context: Any) -> NoReturn:
        names = [str(choice) for choice in self.choices]
        given = str(context.get("input", ""))[:100]
        near = difflib.get_close_matches(given, names, n=1)
        nearest = f" Did you mean “{near[0]}”?" if near else ""
        super().fail(key, **{**context, "input": given, "all": ", ".join(names), "nearest": nearest})
