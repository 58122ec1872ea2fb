"""GET /v1/audit-log"""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.models import AuditEntry
from mailbot.api.pagination import PageQuery, paginated
from mailbot.api.views import TenantView

AUDIT_READ = "audit:read"


class AuditQuery(PageQuery):
    inbox_id = serializers.CharField(max_length=40, required=False)
    actor = serializers.CharField(max_length=150, required=False, help_text="id or name of the actor")
    action = serializers.CharField(max_length=60, required=False)
    to = serializers.DateTimeField(required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), "from": serializers.DateTimeField(required=False)}


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    id = serializers.CharField(source="public_id")
    occurred_at = serializers.DateTimeField(source="timestamp")
    action = serializers.CharField(source="act")
    actor = serializers.SerializerMethodField()
    object = serializers.SerializerMethodField()
    request_id = serializers.CharField(source="cid")

    class Meta:
        model = AuditEntry
        fields = "id occurred_at action actor inbox_id object changes remote_addr request_id".split()

    def get_actor(self, entry: AuditEntry) -> dict[str, str]:
        return {"kind": entry.actor_kind, "id": entry.actor_id, "name": entry.actor_name}

    def get_object(self, entry: AuditEntry) -> dict[str, str]:
        return {"type": entry.object_type, "id": entry.object_pk}


FILTERS = {"inbox_id": "inbox_id", "action": "act", "from": "timestamp__gte", "to": "timestamp__lt"}


class AuditLogView(TenantView):
    """GET /audit-log?inbox_id&actor&action&from&to, newest first.

    This app knows no inboxes: `inboxes.api.audit_log` mounts the view and narrows it to those that the key may see.
    """

    needs = AUDIT_READ

    def entries(self) -> QuerySet[AuditEntry]:
        entries: QuerySet[AuditEntry] = AuditEntry.objects.filter(account_id=self.key.account_id)
        return entries

    def get(self, request: Request) -> Response:
        query = self.query(AuditQuery)
        entries = self.entries().filter(**{column: query[name] for name, column in FILTERS.items() if name in query})
        if actor := query.get("actor"):
            entries = entries.filter(actor_id=actor) | entries.filter(actor_name=actor)
        return paginated(entries, query, lambda rows: AuditEntrySerializer(rows, many=True).data, ("-public_id",))
