"""The shapes of what is answered: declared as serializers, written out without asking each field about each row."""

from collections.abc import Callable
from functools import cache, cached_property
from operator import attrgetter
from typing import Any, TypeVar

from django.db.models import Model
from rest_framework import serializers

from mailbot.api.fields import StoredField

Row = TypeVar("Row", bound=Model)
Reader = Callable[[Any], Any]
AnyField = serializers.Field[Any, Any, Any, Any]

# What these write out is the value that the row has: times are left to the renderer (DATETIME_FORMAT), choices are strings.
AS_IT_IS: frozenset[type[AnyField]] = frozenset(
    {
        serializers.BooleanField,
        serializers.CharField,
        serializers.ChoiceField,
        serializers.DateTimeField,
        serializers.IntegerField,
        serializers.JSONField,
        serializers.ReadOnlyField,
        StoredField,
    }
)


class RowSerializer(serializers.ModelSerializer[Row]):
    """A ModelSerializer for answers only. It says what an answer holds, to the schema too, and writes the same as its parent does.

    Making the fields of a ModelSerializer takes longer than what they then do, and each of them finds out again for every row what
    kind of thing it reads. Here that is done once for each class.
    """

    def to_representation(self, instance: Row) -> dict[str, Any]:
        return {name: read(instance) for name, read in self._readers}

    @cached_property
    def _readers(self) -> list[tuple[str, Reader]]:
        return [
            (name, getattr(self, reader) if isinstance(reader, str) else reader)
            for name, reader in _readers_of(type(self))
        ]


@cache
def _readers_of(shape: type[RowSerializer[Any]]) -> list[tuple[str, Reader | str]]:
    """For each field what reads it: a function of the row, or the name of the serializer's own method."""
    return [(name, _reader(field)) for name, field in shape().fields.items() if not field.write_only]


def _reader(field: AnyField) -> Reader | str:
    if isinstance(field, serializers.SerializerMethodField):
        return str(field.method_name)
    if type(field) in AS_IT_IS:
        return attrgetter(str(field.source))
    if isinstance(field, serializers.ListSerializer) and isinstance(field.child, RowSerializer):
        return _reader_of_many(str(field.source), field.child)

    def read(row: Any) -> Any:
        value = field.get_attribute(row)
        return None if value is None else field.to_representation(value)

    return read


def _reader_of_many(name: str, shape: RowSerializer[Any]) -> Reader:
    """What leads to rows that are read already does not have to be made first: a manager takes longer than what is held."""

    def read(row: Any) -> Any:
        held = getattr(row, "_prefetched_objects_cache", {}).get(name)
        return [shape.to_representation(each) for each in (getattr(row, name).all() if held is None else held)]

    return read
