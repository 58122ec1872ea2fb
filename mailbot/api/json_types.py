"""Whether a value in a JSON body has the type that its field is of, and a list no more items than it may.

DRF's fields take a form's values too: 12 for a text, "yes" for a boolean, "12" for a number. In JSON each of these is a mistake of the
caller's, which the schema forbids; a model that sends one should be told and not guessed at. And DRF counts a list
when it has looked at each of its items, of which there may be a million.
"""

from collections.abc import Iterable
from typing import Any

from rest_framework import serializers

NUL = "This has a NUL character in it, which cannot be stored."
# A float without a fraction is an integer in JSON (JSON Schema 2020-12, 6.1.1).
TYPES: tuple[tuple[type[serializers.Field[Any, Any, Any, Any]], tuple[type, ...], str], ...] = (
    (serializers.BooleanField, (bool,), "This must be true or false."),
    (serializers.IntegerField, (int, float), "This must be a number, without quotes."),
    (serializers.CharField, (str,), "This must be a string."),
)


def wrong_types(values: dict[str, Any], fields: Any) -> dict[str, Any]:
    """For each field whose value, or an item of whose value, is of another type: why. Shapes inside are left to their own serializers."""
    given = ((name, field, values[name]) for name, field in fields.items() if values.get(name) is not None)
    return {name: reasons for name, field, value in given if (reasons := _reasons(field, value))}


def _reasons(field: Any, value: Any) -> Any:
    if isinstance(field, serializers.ListField) and isinstance(value, list):
        most = field.max_length
        is_long = most is not None and len(value) > most
        return [f"These are more than {most}."] if is_long else _reasons_of_items(field.child, value)
    for kind, allowed, reason in TYPES:
        if isinstance(field, kind):
            is_another = not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)
            return [reason] if is_another else _holds_nul(value)
    return []


def _reasons_of_items(child: Any, values: Iterable[Any]) -> dict[str, Any]:
    """By position, as DRF names them. The first ones do: there may be thousands."""
    found: dict[str, Any] = {}
    for position, value in enumerate(values):
        if value is not None and (reasons := _reasons(child, value)):
            found[str(position)] = reasons
            if len(found) == 20:
                break
    return found


def _holds_nul(value: Any) -> list[str]:
    return [NUL] if isinstance(value, str) and "\0" in value else []
