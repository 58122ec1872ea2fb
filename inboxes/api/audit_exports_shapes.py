"""Shapes of /v1/audit-log/exports."""

from typing import Any, TypedDict

from rest_framework import serializers

from audit.export_sources import parts
from audit.models import Export
from mailbot.api.fields import OneOf, StoredField
from mailbot.api.pagination import PageQuery
from mailbot.api.schema import shown_as
from mailbot.api.shapes import RowSerializer
from mailbot.api.views import StrictSerializer
from mailbot.lib.ids import ID_LENGTH

MAX_REASON = 500
EXAMPLE = {
    "id": "export_01m86n4x6pfk2r9d5v1s8c3twz",
    "account_id": "account_01m86mhzv8e2p9x3r7w5k1d4nc",
    "inbox_id": "inbox_01m86mjjvsewt8t640x9zpmss7",
    "from": "2026-11-01T00:00:00.000Z",
    "to": None,
    "include": ["messages"],
    "reason": "Complaint 2041 of Carol Smith",
    "status": "done",
    "progress": 100,
    "entries": 2041,
    "size": 1048576,
    "sha256": "5a0c6a3f0d0f3c3f7b8e1c9a6d5b4e3f2a1908f7e6d5c4b3a2918f7e6d5c4b3a",
    "error": None,
    "asked_by": {"kind": "api_key", "id": "key_01m86mj0fve4c9m2d8v5g7t3wa", "name": "Auditor"},
    "downloads": 0,
    "created_at": "2026-11-24T10:15:00.123Z",
    "finished_at": "2026-11-24T10:15:09.456Z",
    "expires_at": "2026-12-01T10:15:09.456Z",
}


class ExportBody(StrictSerializer):
    inbox_id = serializers.CharField(max_length=ID_LENGTH, required=False, default="")
    to = serializers.DateTimeField(required=False, allow_null=True, default=None)
    reason = serializers.CharField(max_length=MAX_REASON, help_text="Why: it is kept in the trail and in the bundle.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        since = serializers.DateTimeField(required=False, allow_null=True, default=None)
        include = serializers.ListField(child=OneOf(choices=sorted(parts)), required=False, default=list, max_length=10)
        include.help_text = "What of the mail comes with it. Takes the right messages:read, too."
        return {**super().get_fields(), "from": since, "include": include}  # parts are known once all apps are loaded

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["from"] and attrs["to"] and attrs["from"] >= attrs["to"]:
            raise serializers.ValidationError({"to": ["This is not after `from`."]})
        return attrs


ExportBody.example = {  # type: ignore[attr-defined]
    "inbox_id": "inbox_01m86mjjvsewt8t640x9zpmss7",
    "from": "2026-11-01T00:00:00Z",
    "include": ["messages"],
    "reason": "Complaint 2041 of Carol Smith",
}


class AskedBy(TypedDict):
    kind: str
    id: str
    name: str


class ExportQuery(PageQuery):
    """A page."""


@shown_as(EXAMPLE)
class ExportSerializer(RowSerializer[Export]):
    inbox_id = serializers.SerializerMethodField(help_text="Null: the whole account, in the mode of the key.")
    to = serializers.DateTimeField(source="until", allow_null=True)
    include = StoredField(list[str], source="included")
    progress = serializers.IntegerField(help_text="Per cent.")
    error = serializers.SerializerMethodField(help_text="Why it failed, or what it waits for.")
    sha256 = serializers.SerializerMethodField(help_text="Of the zip, in hexadecimal.")
    asked_by = serializers.SerializerMethodField()

    class Meta:
        model = Export
        fields = (
            "id account_id inbox_id to include reason status progress entries size sha256 error asked_by downloads"
            " created_at finished_at expires_at"
        ).split()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        since = serializers.DateTimeField(source="since", allow_null=True, read_only=True)
        return {"from": since, **super().get_fields()}

    def get_inbox_id(self, export: Export) -> str | None:
        return export.inbox_id or None

    def get_error(self, export: Export) -> str | None:
        return export.error or None

    def get_sha256(self, export: Export) -> str | None:
        return export.sha256 or None

    def get_asked_by(self, export: Export) -> AskedBy:
        return {"kind": export.actor_kind, "id": export.actor_id, "name": export.actor_name}
