"""Shapes of /v1/inboxes/{inbox_id}/retention."""

from typing import Any, TypedDict

from rest_framework import serializers

from delivery.api import retention_examples as examples
from delivery.api.erasure_shapes import HoldNamed
from mailbot.api.fields import StoredField
from mailbot.api.schema import shown_as

SOURCES = ("inbox", "account", "server")


class OverCount(TypedDict):
    count: int
    is_more: bool


class OverByPart(TypedDict):
    content: OverCount
    raw: OverCount
    events: OverCount
    audit: OverCount


@shown_as(examples.RETENTION)
class InboxRetentionSerializer(serializers.Serializer[Any]):
    """How long an inbox keeps what it has, and what of it is over now."""

    inbox_id = serializers.CharField()
    retention_class_id = serializers.CharField(allow_null=True, help_text="The class that counts; null: none does.")
    source = serializers.ChoiceField(  # type: ignore[assignment]  # a field of that name, and not where this one reads from
        choices=SOURCES,
        help_text="Whose class it is: the inbox's own, the account's default one, or none, so that it is as the server is set.",
    )
    content_days = serializers.IntegerField(allow_null=True, help_text="null: for ever, likewise below.")
    raw_days = serializers.IntegerField(allow_null=True)
    events_days = serializers.IntegerField(allow_null=True)
    audit_days = serializers.IntegerField(allow_null=True)
    over = StoredField(
        OverByPart,
        help_text="What would go now: messages, raw mail, events, entries of the trail; `is_more`: at least so many.",
    )
    next_sweep_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When it is looked at next; past: within a minute. null while no class counts or a hold is in force.",
    )
    holds = StoredField(
        list[HoldNamed], help_text="In force, on the inbox or on the whole account: nothing goes meanwhile."
    )
