"""Shapes of /v1/inboxes."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from inboxes.api import examples
from inboxes.api.reputation import Reputation, reputation_of
from inboxes.holds import held_among
from inboxes.models import Inbox
from inboxes.provisioning import EXPIRED
from mailbot.api.fields import OneOf, StoredField
from mailbot.api.pagination import PageQuery
from mailbot.api.schema import shown_as
from mailbot.api.shapes import RowSerializer
from mailbot.api.views import StrictSerializer
from mailbot.lib.ids import ID_LENGTH

MAX_METADATA = 16 * 1024


class MetadataField(serializers.JSONField):
    """A JSON object of at most 16 kB, for the caller's own use."""

    openapi = {"type": "object", "description": "A JSON object for your own use, up to 16 kB."}

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if not isinstance(value, dict):
            raise serializers.ValidationError("This must be an object.")
        if len(str(value)) > MAX_METADATA:
            raise serializers.ValidationError("This is longer than 16 kB.")
        if _holds_nul(value):
            raise serializers.ValidationError("This has a NUL character in it, which cannot be stored.")
        return value


def _holds_nul(value: Any) -> bool:
    """Without recursion: the depth is the caller's."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str) and "\0" in item:
            return True
    return False


@shown_as(examples.INBOX_BODY)
class InboxBody(StrictSerializer):
    """`username` and `email_prefix` are the same thing, so are `display_name` and `name`: two clients, two spellings."""

    username = serializers.CharField(max_length=64, required=False, allow_blank=True, allow_null=True)
    email_prefix = serializers.CharField(max_length=64, required=False, allow_blank=True, allow_null=True)
    domain = serializers.CharField(max_length=254, required=False, allow_blank=True, allow_null=True)
    display_name = serializers.CharField(max_length=200, required=False, allow_blank=True, allow_null=True)
    name = serializers.CharField(max_length=200, required=False, allow_blank=True, allow_null=True)
    metadata = MetadataField(required=False, allow_null=True)
    client_id = serializers.CharField(max_length=200, required=False, allow_null=True)
    expires_in = serializers.IntegerField(min_value=1, max_value=10 * 365 * 86400, required=False, allow_null=True)
    daily_send_limit = serializers.IntegerField(min_value=0, max_value=10_000_000, required=False, allow_null=True)
    oversight = serializers.BooleanField(required=False, allow_null=True)
    track_opens = serializers.BooleanField(required=False, allow_null=True)
    track_clicks = serializers.BooleanField(required=False, allow_null=True)
    purge_on_expiry = serializers.BooleanField(required=False, allow_null=True)
    own_subdomain = serializers.BooleanField(required=False, allow_null=True)
    list_unsubscribe = serializers.BooleanField(required=False, allow_null=True)
    provider_id = serializers.CharField(max_length=ID_LENGTH, required=False, allow_null=True)
    retention_class_id = serializers.CharField(max_length=ID_LENGTH, required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in attrs.items() if value is not None}
        _same(given, "username", "email_prefix")
        _same(given, "display_name", "name")
        return given


@shown_as(examples.INBOX_PATCH)
class InboxPatch(StrictSerializer):
    display_name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    metadata = MetadataField(required=False)
    daily_send_limit = serializers.IntegerField(min_value=0, max_value=10_000_000, required=False, allow_null=True)
    oversight = serializers.BooleanField(required=False)
    track_opens = serializers.BooleanField(required=False)
    track_clicks = serializers.BooleanField(required=False)
    expires_in = serializers.IntegerField(min_value=1, max_value=10 * 365 * 86400, required=False, allow_null=True)
    purge_on_expiry = serializers.BooleanField(required=False)
    list_unsubscribe = serializers.BooleanField(required=False)
    provider_id = serializers.CharField(max_length=ID_LENGTH, required=False, allow_null=True)
    retention_class_id = serializers.CharField(max_length=ID_LENGTH, required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        _same(attrs, "display_name", "name")
        if "expires_in" in attrs:
            seconds = attrs.pop("expires_in")
            attrs["expires_at"] = None if seconds is None else timezone.now() + timedelta(seconds=seconds)
        return attrs


def _same(given: dict[str, Any], name: str, other: str) -> None:
    """Fold the second spelling into the first."""
    value = given.pop(other, None)
    if value is None:
        return
    if given.get(name, value) != value:
        raise serializers.ValidationError(
            {other: [f"“{name}” and “{other}” are the same thing, but their values differ."]}
        )
    given[name] = value


@shown_as(examples.REASON)
class ReasonBody(StrictSerializer):
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class InboxQuery(PageQuery):
    status = OneOf(choices=Inbox.Status.choices, required=False)


class DeleteQuery(serializers.Serializer[Any]):
    purge = serializers.BooleanField(default=False)


@shown_as(examples.INBOX)
class InboxSerializer(RowSerializer[Inbox]):
    username = serializers.CharField(source="local_part")
    permissions = serializers.SerializerMethodField()
    sends_today = serializers.SerializerMethodField()
    metadata = StoredField(dict[str, Any])
    message_count = serializers.IntegerField(source="messages_held")
    reputation = serializers.SerializerMethodField()
    on_hold = serializers.SerializerMethodField()

    class Meta:
        model = Inbox
        fields = (
            "id account_id address username display_name domain status status_reason permissions daily_send_limit sends_today"
            " created_at metadata client_id expires_at deleted_at mode message_count thread_count oversight reputation"
            " purge_on_expiry provider_id list_unsubscribe track_opens track_clicks retention_class_id on_hold"
        ).split()
        extra_kwargs = {"address": {"help_text": ""}}

    def get_permissions(self, inbox: Inbox) -> list[str]:
        """What the calling key may do."""
        return list(self.context["key"].permissions)

    def to_representation(self, inbox: Inbox) -> dict[str, Any]:
        """One whose time is over shows what the sweep will write, from that very second on."""
        shown: dict[str, Any] = super().to_representation(inbox)
        if inbox.status != Inbox.Status.DELETED and inbox.has_ended(self.context["now"]):
            shown |= {"status": Inbox.Status.DELETED.value, "status_reason": EXPIRED, "deleted_at": inbox.expires_at}
        return shown

    def get_sends_today(self, inbox: Inbox) -> int:
        """Recipients since midnight (UTC)."""
        return inbox.sends_on(self.context["now"].date())

    def get_on_hold(self, inbox: Inbox) -> bool:
        """Whether a legal hold is in force on it or on its account: it can be neither deleted nor purged."""
        known = inbox.__dict__.get("on_hold")  # where it was read to be shown
        return bool(held_among(inbox.account_id, [inbox.pk])) if known is None else bool(known)

    def get_reputation(self, inbox: Inbox) -> Reputation:
        """Recipients that its mail was handed over for and what became of them, in the last hour, day and week, and how it stands with its
        breaker."""
        return reputation_of(inbox, self.context["figures"].get(inbox.pk))
