"""Shapes of /v1/providers."""

from typing import Any, TypedDict

from django.conf import settings
from rest_framework import serializers

from delivery.api import examples
from delivery.api.serializers import AddressField
from delivery.esps import ESPS
from delivery.provider_rows import webhook_urls
from inboxes.models import Provider
from inboxes.permissions import PROVIDERS_MANAGE
from mailbot.api.fields import OneOf
from mailbot.api.pagination import PageQuery
from mailbot.api.schema import shown_as
from mailbot.api.views import StrictSerializer
from mailbot.lib.crypto import CannotDecrypt
from mailbot.lib.ids import ID_LENGTH

MOST_CREDENTIALS = 20


class CredentialsField(serializers.DictField):
    """By the names that the ESP's page of docs/providers says. They are never answered."""

    openapi = {
        "type": "object",
        "maxProperties": MOST_CREDENTIALS,
        "additionalProperties": {"type": "string", "maxLength": 4000},
        "description": "By the names that docs/providers says of the ESP. Never answered.",
    }
    child = serializers.CharField(max_length=4000, allow_blank=True)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        if isinstance(data, dict) and len(data) > MOST_CREDENTIALS:
            raise serializers.ValidationError(f"These are more than {MOST_CREDENTIALS}.")
        given: dict[str, str] = super().to_internal_value(data)
        if any("\0" in name for name in given):
            raise serializers.ValidationError("A name has a NUL character in it.")
        return given


@shown_as(examples.PROVIDER_PATCH)
class ProviderPatch(StrictSerializer):
    name = serializers.CharField(max_length=100, required=False)
    credentials = CredentialsField(required=False)
    is_default = serializers.BooleanField(required=False)
    is_paused = serializers.BooleanField(required=False)
    reason = serializers.CharField(max_length=500, required=False, allow_blank=True)
    fallback_id = serializers.CharField(max_length=ID_LENGTH, required=False, allow_null=True)
    concurrency = serializers.IntegerField(min_value=1, max_value=1000, required=False)


@shown_as(examples.PROVIDER_BODY)
class ProviderBody(StrictSerializer):
    name = serializers.CharField(max_length=100)
    esp = OneOf(choices=[(key, esp.label) for key, esp in ESPS.items()])
    credentials = CredentialsField()
    is_default = serializers.BooleanField(required=False)
    fallback_id = serializers.CharField(max_length=ID_LENGTH, required=False, allow_null=True)
    concurrency = serializers.IntegerField(min_value=1, max_value=1000, required=False)


@shown_as(examples.PROVIDER_TEST)
class ProviderTestBody(StrictSerializer):
    to = AddressField()
    inbox_id = serializers.CharField(max_length=ID_LENGTH, required=False)


class ProviderQuery(PageQuery):
    esp = OneOf(choices=[(key, esp.label) for key, esp in ESPS.items()], required=False)


class IsSet(TypedDict):
    is_set: bool


class Webhooks(TypedDict):
    inbound: str
    tracking: str


@shown_as(examples.PROVIDER)
class ProviderSerializer(serializers.ModelSerializer[Provider]):
    credentials = serializers.SerializerMethodField()
    webhooks = serializers.SerializerMethodField()

    class Meta:
        model = Provider
        fields = (
            "id account_id name esp credentials is_default fallback_id concurrency is_paused paused_reason webhooks created_at"
        ).split()

    def get_credentials(self, provider: Provider) -> dict[str, IsSet] | None:
        """Which of them are set, never what they are. Null: they cannot be decrypted; enter them anew."""
        try:
            kept = provider.credentials
        except CannotDecrypt:
            return None
        return {field.name: {"is_set": field.name in kept} for field in ESPS[provider.esp].fields}

    def get_webhooks(self, provider: Provider) -> Webhooks | None:
        """What to enter at the ESP. Null for a key that may not manage providers: who knows them can speak for the ESP."""
        if PROVIDERS_MANAGE not in self.context["key"].permissions:
            return None
        urls = webhook_urls(provider, settings.MAILBOT_URL)
        return {"inbound": urls["inbound"], "tracking": urls["tracking"]}
