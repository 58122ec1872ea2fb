"""Shapes of /v1/api-keys."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from inboxes.api import examples
from inboxes.models import ApiKey, Mode
from inboxes.permissions import PRESETS, RIGHTS
from mailbot.api.errors import unknown_fields
from mailbot.api.fields import OneOf
from mailbot.api.pagination import PageQuery
from mailbot.api.schema import shown_as
from mailbot.api.views import StrictSerializer
from mailbot.lib.ids import ID_LENGTH

MOST_INBOXES = 500


class RightsField(serializers.ListField):
    """Names of rights, each once, in the order of the closed list."""

    child = serializers.CharField(max_length=40)

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_empty=False, max_length=len(RIGHTS), **options)

    def to_internal_value(self, data: Any) -> list[str]:
        wanted = super().to_internal_value(data)
        if unknown := unknown_fields(wanted, RIGHTS, "right"):
            raise serializers.ValidationError([f"“{name}”: {reasons[0]}" for name, reasons in unknown.items()])
        return [right for right in RIGHTS if right in wanted]


@shown_as(examples.API_KEY_PATCH)
class ApiKeyPatch(StrictSerializer):
    """`inbox_id` is a short form of `inbox_ids` with one; `preset` one of `permissions`."""

    name = serializers.CharField(max_length=100, required=False)
    inbox_id = serializers.CharField(max_length=ID_LENGTH, required=False, allow_null=True)
    inbox_ids = serializers.ListField(
        child=serializers.CharField(max_length=ID_LENGTH), max_length=MOST_INBOXES, required=False, allow_null=True
    )
    permissions = RightsField(required=False)
    preset = OneOf(choices=list(PRESETS), required=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        if value is not None and value <= timezone.now():
            raise serializers.ValidationError("This time is over.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "preset" in attrs:
            if "permissions" in attrs:
                raise serializers.ValidationError({"preset": ["Give either permissions or preset."]})
            attrs["permissions"] = list(PRESETS[attrs.pop("preset")])
        return _with_inboxes(attrs)


@shown_as(examples.API_KEY_BODY)
class ApiKeyBody(ApiKeyPatch):
    name = serializers.CharField(max_length=100)
    mode = OneOf(choices=Mode.choices, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = super().validate(attrs)
        if "permissions" not in given:
            raise serializers.ValidationError({"permissions": ["This is required, or preset in its place."]})
        return given


def _with_inboxes(attrs: dict[str, Any]) -> dict[str, Any]:
    """Fold `inbox_id` into `inbox_ids`; each id once."""
    if "inbox_id" in attrs:
        one = attrs.pop("inbox_id")
        ids = None if one is None else [one]
        if attrs.get("inbox_ids", ids) != ids:
            raise serializers.ValidationError({"inbox_id": ["Give either inbox_id or inbox_ids."]})
        attrs["inbox_ids"] = ids
    if attrs.get("inbox_ids") is not None:
        attrs["inbox_ids"] = list(dict.fromkeys(attrs["inbox_ids"]))
    return attrs


class ApiKeyQuery(PageQuery):
    status = OneOf(choices=ApiKey.Status.choices, required=False)


@shown_as(examples.API_KEY)
class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    inbox_id = serializers.CharField(source="sole_inbox_id", allow_null=True)
    inbox_ids = serializers.ListField(child=serializers.CharField(), allow_null=True)
    permissions = serializers.ListField(child=serializers.CharField())
    status = serializers.SerializerMethodField()

    class Meta:
        model = ApiKey
        fields = (
            "id account_id name mode prefix permissions inbox_id inbox_ids status created_at last_used_at expires_at revoked_at"
        ).split()

    def get_status(self, key: ApiKey) -> str:
        return key.status(timezone.now()).value


@shown_as(examples.NEW_API_KEY)
class NewApiKeySerializer(ApiKeySerializer):
    """The one answer that has the secret."""

    secret = serializers.SerializerMethodField()

    class Meta(ApiKeySerializer.Meta):
        fields = [*ApiKeySerializer.Meta.fields, "secret"]

    def get_secret(self, key: ApiKey) -> str | None:
        """Null where a request with an Idempotency-Key is repeated: it is kept nowhere."""
        return str(self.context["secret"])
