"""Fields of answers that serializers have none for."""

from typing import Any

from rest_framework import serializers


class StoredField(serializers.JSONField):
    """A JSON column that is answered as it is stored. `shape` is its type as the schema states it: `list[str]`, a TypedDict, …"""

    def __init__(self, shape: Any, **options: Any) -> None:
        self.openapi = shape
        super().__init__(read_only=True, **options)
