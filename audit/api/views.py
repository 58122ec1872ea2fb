"""GET /v1/audit-log, /v1/audit-log/{entry_id}, /v1/audit-log/verify and /v1/audit-log/export"""

from datetime import datetime
from functools import partial
from typing import Any, TypedDict

from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.acts import names_of_acts
from audit.api.proofs import EXAMPLE_PROOF, Proof, TrailVerdictSerializer, VerifyQuery, proof_of, verdict_of
from audit.findings import Verdict
from audit.lookups import newest, within
from audit.models import AuditEntry, AuditLeaf
from audit.reads import record_read, record_trail_read
from audit.record import Act, record
from audit.streaming import CONTENT_TYPES, FORMATS, JSON_LINES
from mailbot.api.errors import ApiError, Code, not_found
from mailbot.api.fields import OneOf, StoredField
from mailbot.api.pagination import PageQuery, paginated
from mailbot.api.schema import described, shown_as
from mailbot.api.shapes import RowSerializer
from mailbot.api.streaming import streamed
from mailbot.api.views import TenantView, data
from mailbot.lib.shown_rows import read_rows
from mailbot.lib.stray_keys import without_keys

AUDIT_READ = "audit:read"


class AuditFilter(serializers.Serializer[Any]):
    inbox_id = serializers.CharField(max_length=40, required=False)
    actor = serializers.CharField(max_length=150, required=False, help_text="id or name of the actor")
    to = serializers.DateTimeField(required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        action = OneOf(choices=names_of_acts(), required=False)  # known once all applications are
        return {**super().get_fields(), "action": action, "from": serializers.DateTimeField(required=False)}


class AuditQuery(AuditFilter, PageQuery):
    """Filters and a page."""


class AuditStreamQuery(AuditFilter):
    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {"format": OneOf(choices=sorted(FORMATS), default=JSON_LINES), **super().get_fields()}


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
    "seq": 2041,
    "hash": "9b1c3f0f6b7f7f3a2f6ddc0f3a0b9d1f9f1e7a51d6b0f0a5e0f8f3f5d9f0c2aa",
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
    seq = serializers.SerializerMethodField(help_text="Its place in the account's tree; null until it is sealed.")
    hash = serializers.SerializerMethodField(help_text="Of its leaf, in hexadecimal; null until it is sealed.")

    class Meta:
        model = AuditEntry
        fields = "id occurred_at action actor inbox_id object changes remote_addr request_id seq hash".split()

    def get_actor(self, entry: AuditEntry) -> AboutActor:
        return {"kind": entry.actor_kind, "id": entry.actor_id, "name": entry.actor_name}

    def get_object(self, entry: AuditEntry) -> AboutObject:
        return {"type": entry.object_type, "id": entry.object_pk}

    def get_seq(self, entry: AuditEntry) -> int | None:
        leaf = self._leaf(entry)
        return None if leaf is None else leaf.seq

    def get_hash(self, entry: AuditEntry) -> str | None:
        leaf = self._leaf(entry)
        return None if leaf is None else bytes(leaf.hash).hex()

    def _leaf(self, entry: AuditEntry) -> AuditLeaf | None:
        leaf: AuditLeaf | None = self.context.get("leaves", {}).get(entry.pk)
        return leaf


@shown_as(EXAMPLE | {"proof": EXAMPLE_PROOF})
class ProvenEntrySerializer(AuditEntrySerializer):
    proof = serializers.SerializerMethodField(help_text="Null until it is sealed, and for a key of some inboxes only.")

    class Meta(AuditEntrySerializer.Meta):
        fields = [*AuditEntrySerializer.Meta.fields, "proof"]

    def get_proof(self, entry: AuditEntry) -> Proof | None:
        leaf = self._leaf(entry)
        return None if leaf is None else proof_of(leaf)


SHOWN = (
    *(
        "id",
        "public_id",
        "timestamp",
        "act",
        "actor_kind",
        "actor_id",
        "actor_name",
        "inbox_id",
        "object_type",
        "object_pk",
    ),
    *("changes", "remote_addr", "cid"),
)


class AuditView(TenantView):
    """This app knows no inboxes: `inboxes.api.audit_log` mounts its views and narrows them to those that the key may see."""

    needs = AUDIT_READ

    def entries(self, inbox_id: str = "") -> QuerySet[AuditEntry]:
        """Those that the key sees; of an inbox, if one is named."""
        entries: QuerySet[AuditEntry] = AuditEntry.objects.filter(account_id=self.key.account_id)
        return entries.filter(inbox_id=inbox_id) if inbox_id else entries

    def filtered(self, query: dict[str, Any]) -> QuerySet[AuditEntry]:
        entries = self.entries(query.get("inbox_id", "")).filter(within(query.get("from"), query.get("to")))
        if action := query.get("action"):
            entries = entries.filter(act=action)
        if actor := query.get("actor"):
            entries = entries.filter(actor_id=actor) | entries.filter(actor_name=actor)
        return entries


class AuditLogView(AuditView):
    """GET /audit-log?inbox_id&actor&action&from&to, newest first."""

    @described("Read the audit log", query=AuditQuery, answer=AuditEntrySerializer, many=True)
    def get(self, request: Request) -> Response:
        """Newest first: who did what, when, under which request. Entries hold no body of a mail and no secret. Without `inbox_id` also
        what concerns the account itself, unless the key is limited to one inbox."""
        query = self.query(AuditQuery)
        shown, read = partial(self._shown, query), partial(read_rows, columns=SHOWN)
        return paginated(self.filtered(query), query, shown, ORDER, read, partial(self._near, query))

    def _near(self, query: dict[str, Any], after: list[Any] | None) -> Q | None:
        return None if "from" in query else newest(after[0] if after else query.get("to"))

    def _shown(self, query: dict[str, Any], entries: list[AuditEntry]) -> Any:
        """Of filters that show nothing nobody knows whether they name what is the key's: then the entry names none."""
        shown = represent_entries(entries)
        told = query if entries else {}
        asked = {name: without_keys(str(told[name])) for name in ("action", "actor", "from", "to") if name in told}
        inbox_id = told.get("inbox_id", "")
        record_trail_read(entries, account_id=self.key.account_id, inbox_id=inbox_id, **asked)
        return shown


class AuditStreamView(AuditView):
    """GET /audit-log/export"""

    @described(
        "Stream the audit log",
        query=AuditStreamQuery,
        media_type=tuple(CONTENT_TYPES.values()),
        name="stream_audit_log",
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """All that the filters let through, oldest first, as JSON Lines or CSV, however many there are. What proves itself without this
        server is made by `POST /audit-log/exports`."""
        query = self.query(AuditStreamQuery)
        how = query["format"]
        entries = self.filtered(query).filter(within(until=timezone.now()))  # up to now: without what is written here
        record_stream(self.key.account_id, query if entries.exists() else {"format": how})
        pieces = FORMATS[how](entries, represent_entries, SHOWN)
        return streamed(request._request, pieces, CONTENT_TYPES[how], f"audit-log.{how}")


class AuditEntryView(AuditView):
    """GET /audit-log/{entry_id}"""

    @described("Read an entry of the audit log, with its proof", answer=ProvenEntrySerializer)
    def get(self, request: Request, entry_id: str) -> Response:
        """With the proof that it is in the tree which the newest signed head is of."""
        entry = self.entries().filter(public_id=entry_id).first()
        if entry is None:
            raise not_found()
        place = {"account_id": self.key.account_id, "inbox_id": entry.inbox_id}
        record_read(Act.AUDIT_READ, "entry", entry.public_id, **place)
        return data(ProvenEntrySerializer(entry, context={"leaves": leaves_of([entry])}).data)


class AuditVerifyView(AuditView):
    """GET /audit-log/verify"""

    @described("Verify the audit log", query=VerifyQuery, answer=TrailVerdictSerializer, errors=(Code.CONFLICT,))
    def get(self, request: Request) -> Response:
        """Whether the entries of the account are what was sealed; if not, `findings` begins with the first that is changed, missing, added
        or moved. Looks at 16,384 of them: go on with `from_seq` = `next_from_seq` until that is null. With `size` and `root` of a head that
        you kept, also whether the trail goes on from it, with the proof. Takes a key of all inboxes."""
        query = self.query(VerifyQuery)
        if self.key.inbox_ids is not None:
            message = "The tree is that of the whole account, and this key is limited to some inboxes."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a key that is not limited to some inboxes.")
        return data(verdict_of(self.key.account_id, query, self.visible_ids))

    def visible_ids(self, verdict: Verdict) -> set[str]:
        """Of the entries that are named: a bad one of the other mode is told of without its id."""
        named = [finding.id for finding in verdict.findings if finding.id]
        return set(self.entries().filter(public_id__in=named).values_list("public_id", flat=True)) if named else set()


ORDER = ("-timestamp", "-public_id")


def leaves_of(entries: list[AuditEntry]) -> dict[int, AuditLeaf]:
    return AuditLeaf.objects.in_bulk([entry.pk for entry in entries])


def record_stream(account_id: str, query: dict[str, Any]) -> None:
    """It is an act like any: who took the trail away, and which part of it. `query` names nothing that the key does not see."""
    told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in query.items()}
    record(Act.TRAIL_STREAMED, None, account_id=account_id, inbox_id=query.get("inbox_id", ""), changes=told)


def represent_entries(entries: list[AuditEntry]) -> Any:
    return AuditEntrySerializer(entries, many=True, context={"leaves": leaves_of(entries)}).data
