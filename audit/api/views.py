"""GET /v1/audit-log"""

from functools import partial
from typing import Any, TypedDict

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.models import AuditEntry
from mailbot.api.fields import StoredField
from mailbot.api.pagination import PageQuery, paginated
from mailbot.api.schema import described, shown_as
from mailbot.api.shapes import RowSerializer
from mailbot.api.views import TenantView
from mailbot.lib.shown_rows import read_rows

AUDIT_READ = "audit:read"


class AuditQuery(PageQuery):
    inbox_id = serializers.CharField(max_length=40, required=False)
    actor = serializers.CharField(max_length=150, required=False, help_text="id or name of the actor")
    action = serializers.CharField(max_length=60, required=False)
    to = serializers.DateTimeField(required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), "from": serializers.DateTimeField(required=False)}


class AboutActor(TypedDict):
    kind: str
    id: str
    name: str


class AboutObject(TypedDict):
    type: str
    id: str


EXAMPLE = {
    "id": "audit_01m86n1c41f9ca9v7dq2w3k6rz",
    "occurred_at": "2026-11-24T10:15:00.123Z",
    "action": "message.queued",
    "actor": {"kind": "api_key", "id": "key_01m86mj0fve4c9m2d8v5g7t3wa", "name": "Billing agent"},
    "inbox_id": "inbox_01m86mjjvsewt8t640x9zpmss7",
    "object": {"type": "message", "id": "msg_01m86n1c3xeg3s5qpn0yjgh6ce"},
    "changes": {"to": ["carol@shop.example"], "subject": "Re: Invoice 2041"},
    "remote_addr": "203.0.113.7",
    "request_id": "req_01m86n1c3te8r9y3b6d1f5h7kx",
}


@shown_as(EXAMPLE)
class AuditEntrySerializer(RowSerializer[AuditEntry]):
    id = serializers.CharField(source="public_id")
    occurred_at = serializers.DateTimeField(source="timestamp")
    action = serializers.CharField(source="act")
    actor = serializers.SerializerMethodField()
    object = serializers.SerializerMethodField()
    changes = StoredField(dict[str, Any] | None)
    request_id = serializers.CharField(source="cid", allow_null=True)

    class Meta:
        model = AuditEntry
        fields = "id occurred_at action actor inbox_id object changes remote_addr request_id".split()

    def get_actor(self, entry: AuditEntry) -> AboutActor:
        return {"kind": entry.actor_kind, "id": entry.actor_id, "name": entry.actor_name}

    def get_object(self, entry: AuditEntry) -> AboutObject:
        return {"type": entry.object_type, "id": entry.object_pk}


SHOWN = (
    *("public_id", "timestamp", "act", "actor_kind", "actor_id", "actor_name", "inbox_id", "object_type", "object_pk"),
    *("changes", "remote_addr", "cid"),
)
FILTERS = {"inbox_id": "inbox_id", "action": "act", "from": "timestamp__gte", "to": "timestamp__lt"}


class AuditLogView(TenantView):
    """GET /audit-log?inbox_id&actor&action&from&to, newest first.

    This app knows no inboxes: `inboxes.api.audit_log` mounts the view and narrows it to those that the key may see.
    """

    needs = AUDIT_READ

    def entries(self) -> QuerySet[AuditEntry]:
        entries: QuerySet[AuditEntry] = AuditEntry.objects.filter(account_id=self.key.account_id)
        return entries

    @described("Read the audit log", query=AuditQuery, answer=AuditEntrySerializer, many=True)
    def get(self, request: Request) -> Response:
        """Newest first: who did what, when, under which request. Entries hold no body of a mail and no secret. Without `inbox_id` also
        what concerns the account itself, unless the key is limited to one inbox."""
        query = self.query(AuditQuery)
        entries = self.entries().filter(**{column: query[name] for name, column in FILTERS.items() if name in query})
        if actor := query.get("actor"):
            entries = entries.filter(actor_id=actor) | entries.filter(actor_name=actor)
        return paginated(entries, query, represent_entries, ("-public_id",), partial(read_rows, columns=SHOWN))


def represent_entries(entries: list[AuditEntry]) -> Any:
    return AuditEntrySerializer(entries, many=True).data
