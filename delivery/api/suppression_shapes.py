"""Shapes of /v1/suppressions."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from delivery.api import examples
from delivery.suppression import MAX_REASON, OVER, NotSuppressible, canonical_scope_domain, suppressible
from delivery.suppression_import import MOST
from delivery.suppression_model import Cause, Scope, Suppression
from inboxes.api.lists_shapes import Author
from mailbot.api.fields import OneOf, StoredField
from mailbot.api.pagination import PageQuery
from mailbot.api.schema import shown_as
from mailbot.api.shapes import RowSerializer
from mailbot.api.views import StrictSerializer
from mailbot.lib.addresses import comparable
from mailbot.lib.ids import ID_LENGTH

FORMATS = ("csv", "json", "lines")


class SuppressibleField(serializers.CharField):
    """An address that can be suppressed; comes out in comparable form."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=320, **options)

    def to_internal_value(self, data: Any) -> str:
        try:
            return suppressible(super().to_internal_value(data))
        except NotSuppressible as error:
            raise serializers.ValidationError(str(error)) from error


class SoughtField(serializers.CharField):
    """An address as it is looked for: whatever it is, in comparable form."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=320, **options)

    def to_internal_value(self, data: Any) -> str:
        return comparable(super().to_internal_value(data))


class ScopeDomainField(serializers.CharField):
    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=254, **options)

    def to_internal_value(self, data: Any) -> str:
        try:
            return canonical_scope_domain(super().to_internal_value(data))
        except NotSuppressible as error:
            raise serializers.ValidationError(str(error)) from error


def not_both(attrs: dict[str, Any]) -> dict[str, Any]:
    if attrs.get("inbox_id") and attrs.get("domain"):
        raise serializers.ValidationError({"domain": ["Give inbox_id, domain, or neither for the whole account."]})
    return attrs


def ahead(moment: datetime) -> None:
    if moment <= timezone.now():
        raise serializers.ValidationError(OVER)


class ScopeBody(StrictSerializer):
    """Whose mail: `inbox_id`, `domain` of the sending inboxes, or neither for the whole account."""

    inbox_id = serializers.CharField(max_length=ID_LENGTH, required=False, allow_null=True, default=None)
    domain = ScopeDomainField(required=False, allow_null=True, default=None)
    reason = serializers.CharField(max_length=MAX_REASON, required=False, allow_blank=True, default="")
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, validators=[ahead], help_text="null: never; left out: by the cause"
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return not_both(attrs)


@shown_as(examples.SUPPRESSION_BODY)
class SuppressionBody(ScopeBody):
    address = SuppressibleField()
    cause = OneOf(choices=Cause.choices, required=False, default=Cause.MANUAL.value)


@shown_as(examples.SUPPRESSION_IMPORT)
class ImportBody(ScopeBody):
    """`content` is a file as it is, `entries` a list of addresses or of objects with `address`, `cause`, `reason` and `expires_at`."""

    content = serializers.CharField(required=False, trim_whitespace=False, allow_blank=True)
    format = OneOf(choices=FORMATS, required=False)
    entries = serializers.JSONField(required=False)
    cause = OneOf(choices=Cause.choices, required=False, default=Cause.IMPORT.value)

    def get_fields(self) -> Any:
        fields = super().get_fields()
        fields["entries"].openapi = {  # type: ignore[attr-defined]
            "type": "array",
            "maxItems": MOST,
            "items": {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}]},
            "description": "Addresses, or objects.",
        }
        return fields

    def validate_entries(self, entries: Any) -> Any:
        if not isinstance(entries, list):
            raise serializers.ValidationError("This must be a list.")
        if len(entries) > MOST:
            raise serializers.ValidationError(f"These are more than {MOST:,} entries.")
        return entries

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("content" in attrs) == ("entries" in attrs):
            raise serializers.ValidationError({"content": ["Give one of content and entries."]})
        return not_both(attrs)


class FilterQuery(serializers.Serializer[Any]):
    inbox_id = serializers.CharField(max_length=ID_LENGTH, required=False)
    domain = ScopeDomainField(required=False)
    address = SoughtField(required=False)
    cause = OneOf(choices=Cause.choices, required=False)
    scope = OneOf(choices=Scope.choices, required=False)

    def get_fields(self) -> Any:
        """`from` is no name in Python."""
        times = {name: serializers.DateTimeField(required=False) for name in ("from", "to")}
        return {**super().get_fields(), **times}


class SuppressionQuery(FilterQuery, PageQuery):
    pass


class LiftQuery(serializers.Serializer[Any]):
    address = SoughtField()
    inbox_id = serializers.CharField(max_length=ID_LENGTH, required=False)
    domain = ScopeDomainField(required=False)
    reason = serializers.CharField(max_length=MAX_REASON, required=False, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return not_both(attrs)


class ReasonQuery(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_REASON, required=False, default="")


class CheckQuery(serializers.Serializer[Any]):
    address = SoughtField()
    inbox_id = serializers.CharField(max_length=ID_LENGTH, required=False)


@shown_as(examples.SUPPRESSION)
class SuppressionSerializer(RowSerializer[Suppression]):
    scope = serializers.ChoiceField(choices=Scope.choices)
    created_by = StoredField(Author, help_text="As in the audit log.")

    class Meta:
        model = Suppression
        fields = (
            "id account_id inbox_id domain scope mode address person cause reason status_code message_id created_by created_at updated_at"
            " expires_at"
        ).split()


@shown_as(examples.SUPPRESSION_CHECK)
class CheckSerializer(serializers.Serializer[Any]):
    address = serializers.CharField()
    inbox_id = serializers.CharField(allow_null=True)
    suppressed = serializers.BooleanField()
    suppression = SuppressionSerializer(allow_null=True, help_text="The nearest of those that stop it.")


class RefusedLineSerializer(serializers.Serializer[Any]):
    line = serializers.IntegerField(help_text="of the file, or the number of the entry; from 1")
    value = serializers.CharField()
    error = serializers.CharField()


@shown_as(examples.SUPPRESSION_IMPORTED)
class ImportedSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    added = serializers.IntegerField()
    known = serializers.IntegerField(help_text="were there before, or twice in the file")
    invalid = serializers.IntegerField()
    refused = RefusedLineSerializer(many=True, help_text="the first hundred of the invalid ones")
