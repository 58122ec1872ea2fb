"""Shapes of /v1/erasures."""

from typing import Any, TypedDict

from rest_framework import serializers

from delivery.api import examples
from delivery.erasing.asking import MOST_REASON
from delivery.models import Erasure
from mailbot.api.fields import OneOf, StoredField
from mailbot.api.pagination import PageQuery
from mailbot.api.schema import shown_as
from mailbot.api.shapes import RowSerializer
from mailbot.api.views import StrictSerializer


@shown_as(examples.ERASURE_BODY)
class ErasureBody(StrictSerializer):
    address = serializers.CharField(
        max_length=320, help_text="Compared without regard to case; what has a tag (`+news`) is another address."
    )
    reason = serializers.CharField(max_length=MOST_REASON, help_text="Kept in the trail and in the certificate.")
    dry_run = serializers.BooleanField(
        required=False, default=False, help_text="true: answer what would go, and change nothing."
    )


class ErasureQuery(PageQuery):
    state = OneOf(choices=Erasure.State.choices, required=False)


class InboxCount(TypedDict):
    inbox_id: str
    address: str
    count: int


class MessagePlan(TypedDict):
    count: int
    by_inbox: list[InboxCount]
    ids: list[str]


class HoldNamed(TypedDict):
    id: str
    matter: str
    inbox_id: str | None


@shown_as(examples.ERASURE_PLAN)
class ErasurePlanSerializer(serializers.Serializer[Any]):
    """What an erasure would take now."""

    person = serializers.CharField(help_text="The pseudonym that would stand in the place of the address.")
    messages = StoredField(MessagePlan, help_text="Of which the person is the sender or a recipient; up to 100 ids.")
    raw_mails = serializers.IntegerField()
    attachments = serializers.IntegerField()
    threads = serializers.IntegerField(
        help_text="that lose messages, or in whose participants or subject the person is"
    )
    events = serializers.IntegerField()
    recipients = serializers.IntegerField()
    audit_entries = serializers.IntegerField(help_text="that name the person, or are about these messages")
    provider_events = serializers.IntegerField()
    kept_answers = serializers.IntegerField(help_text="to requests with an Idempotency-Key")
    other_rows = StoredField(dict[str, int], help_text="Other rows that name the person, by kind.")
    suppressions = StoredField(list[str], help_text="These are kept as a hash.")
    list_entries = StoredField(list[str], help_text="These stay, and are for the operator to remove.")
    exports = StoredField(list[str], help_text="These bundles cannot be downloaded any more afterwards.")
    mentioned_in = serializers.IntegerField(
        help_text="Messages between others in whose text the address stands: they stay."
    )
    holds = StoredField(list[HoldNamed], help_text="Legal holds that forbid it.")


class AskedBy(TypedDict):
    kind: str
    id: str
    name: str


@shown_as(examples.ERASURE)
class ErasureSerializer(RowSerializer[Erasure]):
    progress = serializers.IntegerField(help_text="Per cent.")
    counts = StoredField(dict[str, int], help_text="What went so far, by kind.")
    error = serializers.SerializerMethodField(help_text="Why it failed or was refused, or what it waits for.")
    requested_by = serializers.SerializerMethodField()

    class Meta:
        model = Erasure
        fields = (
            "id account_id person state progress done total counts reason error requested_by created_at started_at"
            " finished_at"
        ).split()

    def get_error(self, erasure: Erasure) -> str | None:
        return erasure.error or None

    def get_requested_by(self, erasure: Erasure) -> AskedBy:
        return {"kind": erasure.actor_kind, "id": erasure.actor_id, "name": erasure.actor_name}


class Author(TypedDict):
    kind: str
    id: str
    name: str


@shown_as(examples.ERASURE_CERTIFICATE)
class CertificateSerializer(serializers.Serializer[Any]):
    """Signed (Ed25519) with the key of the audit log."""

    format = serializers.CharField()
    erasure = serializers.CharField()
    account_id = serializers.CharField()
    person = serializers.CharField()
    reason = serializers.CharField()
    requested_by = StoredField(Author)
    requested_at = serializers.CharField()
    started_at = serializers.CharField(allow_null=True)
    finished_at = serializers.CharField(allow_null=True)
    erased = StoredField(dict[str, int])
    kept = StoredField(dict[str, Any])
    not_covered = StoredField(list[str])
    head = StoredField(
        dict[str, Any], allow_null=True, help_text="Of the account's tree, after the last entry of the erasure."
    )
    key = serializers.CharField()
    signature = serializers.CharField()
