"""Shapes of messages, threads and events in /v1."""

from datetime import datetime
from typing import Any, TypedDict

from django.utils import timezone
from rest_framework import serializers

from mailbot.api.fields import OneOf, StoredField
from mailbot.api.pagination import PageQuery
from mailbot.api.schema import shown_as
from mailbot.api.shapes import RowSerializer
from mailbot.api.views import StrictSerializer
from mailbot.lib.ids import ID_LENGTH
from threads.api import examples
from threads.events import EventType
from threads.leases import LONGEST, owner_of
from threads.models import Attachment, Event, Message, Thread

MAX_LABELS = 100
MAX_TOKEN = 2**63 - 1


class LabelField(serializers.CharField):
    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=100, **options)


@shown_as(examples.LABELS_BODY)
class LabelsBody(StrictSerializer):
    labels = serializers.ListField(child=LabelField(), max_length=MAX_LABELS)


@shown_as(examples.THREAD_PATCH)
class ThreadPatch(StrictSerializer):
    labels = serializers.ListField(child=LabelField(), max_length=MAX_LABELS, required=False)
    status = OneOf(choices=Thread.Status.choices, required=False)


class MessageQuery(PageQuery):
    direction = OneOf(choices=Message.Direction.choices, required=False)
    thread_id = serializers.CharField(max_length=40, required=False)
    to = serializers.CharField(max_length=320, required=False)
    subject = serializers.CharField(max_length=500, required=False)
    status = OneOf(choices=Message.Status.choices, required=False)
    after = serializers.CharField(max_length=40, required=False)
    before = serializers.CharField(max_length=40, required=False)
    has_attachment = serializers.BooleanField(required=False, default=None)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {
            **super().get_fields(),
            "from": serializers.CharField(max_length=320, required=False),
            "label": LabelField(required=False),  # as an attribute it would be the serializer's own label
        }


class ThreadQuery(PageQuery):
    participant = serializers.CharField(max_length=320, required=False)
    subject = serializers.CharField(max_length=500, required=False)
    after = serializers.CharField(max_length=40, required=False)
    before = serializers.CharField(max_length=40, required=False)
    status = OneOf(choices=Thread.Status.choices, required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), "label": LabelField(required=False)}


class ThreadPageQuery(serializers.Serializer[Any]):
    cursor = serializers.CharField(required=False, max_length=500)


class EventQuery(PageQuery):
    thread_id = serializers.CharField(max_length=40, required=False)
    inbox_id = serializers.CharField(max_length=40, required=False)
    message_id = serializers.CharField(max_length=40, required=False)
    type = OneOf(choices=[event.value for event in EventType], required=False)
    after = serializers.CharField(max_length=40, required=False)


@shown_as(examples.ATTACHMENT)
class AttachmentSerializer(RowSerializer[Attachment]):
    class Meta:
        model = Attachment
        fields = ("id", "filename", "content_type", "size", "content_id", "disposition", "sha256")


class Header(TypedDict):
    name: str
    value: str


class AuthResults(TypedDict):
    spf: str | None
    dkim: str | None
    dmarc: str | None


class Trust(TypedDict):
    score: float | None
    flags: list[str]


class RecipientState(TypedDict):
    address: str
    status: str
    reason: str


@shown_as(examples.MESSAGE)
class MessageSerializer(RowSerializer[Message]):
    to_addresses = serializers.SerializerMethodField()
    cc = serializers.SerializerMethodField()
    bcc = serializers.SerializerMethodField()
    reply_to = serializers.SerializerMethodField()
    headers = serializers.SerializerMethodField()
    references = StoredField(list[str])
    labels = StoredField(list[str])
    codes = StoredField(list[str], help_text="Verification codes, the likeliest first.")
    links = StoredField(list[str], help_text="http and https links.")
    metadata = StoredField(dict[str, Any])
    recipients = StoredField(list[RecipientState], help_text="Of mail that leaves: where it is, for each recipient.")
    attachments = AttachmentSerializer(many=True)
    auth = serializers.SerializerMethodField()
    trust = serializers.SerializerMethodField()

    class Meta:
        model = Message
        fields = (
            "id inbox_id thread_id message_id_header from_address from_name to_addresses cc bcc reply_to subject body_text body_html"
            " extracted_text extracted_html preview direction status created_at sent_at headers in_reply_to references attachments"
            " labels codes links size auth trust metadata recipients recipient_tag repeat_count degraded_reason"
        ).split()

    def get_to_addresses(self, message: Message) -> list[str]:
        return bare(message.to)

    def get_cc(self, message: Message) -> list[str]:
        return bare(message.cc)

    def get_bcc(self, message: Message) -> list[str]:
        return bare(message.bcc)

    def get_reply_to(self, message: Message) -> list[str]:
        return bare(message.reply_to)

    def get_headers(self, message: Message) -> list[Header]:
        return [{"name": name, "value": value} for name, value in message.headers]

    def get_auth(self, message: Message) -> AuthResults:
        """Null for mail that was written here."""
        found = message.auth or {}
        return {"spf": found.get("spf"), "dkim": found.get("dkim"), "dmarc": found.get("dmarc")}

    def get_trust(self, message: Message) -> Trust:
        return {"score": (message.auth or {}).get("score"), "flags": message.flags}


def bare(addresses: list[dict[str, str]]) -> list[str]:
    return [item["address"] for item in addresses]


class AutomaticSign(TypedDict):
    flag: str
    sign: str
    header: str
    value: str
    reason: str


class Decision(TypedDict):
    rule: str
    reason: str
    matched_header: str
    matched_message_id_header: str
    matched_message: str
    suspect_thread: str


@shown_as(examples.EXPLANATION)
class ExplanationSerializer(serializers.Serializer[Any]):
    """Why a message is in its thread, and what was noticed of it."""

    message_id = serializers.CharField()
    thread_id = serializers.CharField()
    flags = StoredField(list[str])
    labels = StoredField(list[str])
    repeat_count = serializers.IntegerField()
    thread = StoredField(Decision)
    checks = StoredField(dict[str, Any])
    intake = StoredField(
        dict[str, Any],
        allow_null=True,
        help_text="How it came in, and whether its raw form is `exact`, `decoded` or `rebuilt`; null for what was written here.",
    )
    automatic = StoredField(
        list[AutomaticSign], help_text="Signs of a machine or a loop; with any, an answer has to be forced."
    )
    list = StoredField(
        dict[str, Any], allow_null=True, help_text="Where a list decided: which entry, as `/lists/check` says it."
    )
    report = StoredField(
        dict[str, Any],
        allow_null=True,
        help_text="Where it reports on a mail of the inbox: on which, and how that is known.",
    )


class ThreadOwner(TypedDict):
    kind: str
    id: str
    name: str
    agent: str | None
    claimed_at: datetime
    lease_until: datetime


@shown_as(examples.THREAD)
class ThreadSerializer(RowSerializer[Thread]):
    labels = StoredField(list[str])
    participants = StoredField(list[str])
    owner = serializers.SerializerMethodField()

    class Meta:
        model = Thread
        fields = "id inbox_id subject last_message_at message_count labels created_at participants preview status owner".split()

    def get_owner(self, thread: Thread) -> ThreadOwner | None:
        """Who works on it, while the lease runs."""
        owner = owner_of(thread, timezone.now())
        if owner is None:
            return None
        assert thread.claimed_at is not None  # a lease that runs has both
        assert thread.lease_until is not None
        return ThreadOwner(
            kind="api_key",
            id=owner.id,
            name=owner.name,
            agent=owner.agent or None,
            claimed_at=thread.claimed_at,
            lease_until=thread.lease_until,
        )


@shown_as(examples.CLAIMED_THREAD)
class ClaimedThreadSerializer(ThreadSerializer):
    """The thread, and the token of its lease."""

    token = serializers.IntegerField(source="lease_token", help_text="Give it with what you write into the thread.")

    class Meta(ThreadSerializer.Meta):
        fields = [*ThreadSerializer.Meta.fields, "token"]


class LeaseBody(StrictSerializer):
    agent = serializers.CharField(
        max_length=100,
        required=False,
        default="",
        help_text="Your own name, where several agents share one key: each is an owner by itself.",
    )


class TokenBody(LeaseBody):
    token = serializers.IntegerField(
        min_value=1,
        max_value=MAX_TOKEN,
        required=False,
        help_text="Of the claim. With it, whoever asks counts as the owner.",
    )


class SecondsField(serializers.IntegerField):
    def __init__(self, **options: Any) -> None:
        longest = int(LONGEST.total_seconds())
        help_text = f"How long the lease runs; at most {longest:,} (a day)."
        super().__init__(min_value=1, max_value=longest, required=False, default=300, help_text=help_text, **options)


@shown_as(examples.CLAIM)
class ClaimBody(LeaseBody):
    seconds = SecondsField()


@shown_as(examples.RELEASE)
class ReleaseBody(TokenBody):
    pass


@shown_as(examples.HAND_OFF)
class HandOffBody(TokenBody):
    key_id = serializers.CharField(
        max_length=ID_LENGTH, required=False, help_text="The API key that gets it; left out: yours."
    )
    to_agent = serializers.CharField(
        max_length=100, required=False, default="", help_text="The name of the agent that gets it."
    )
    seconds = SecondsField()
    note = serializers.CharField(
        max_length=500, required=False, default="", allow_blank=True, help_text="For the trail and the event."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "key_id" not in attrs and not attrs["to_agent"]:
            raise serializers.ValidationError({"key_id": "Say who gets it: key_id, to_agent or both."})
        return attrs


@shown_as(examples.THREAD_WITH_MESSAGES)
class ThreadWithMessagesSerializer(ThreadSerializer):
    """A thread with its messages, oldest first, 200 at a time."""

    # For the schema: the view, which knows the cursor, puts them in itself.
    messages = MessageSerializer(many=True)
    messages_cursor = serializers.CharField(allow_null=True, help_text="For `?cursor`; null when all are here.")

    class Meta(ThreadSerializer.Meta):
        fields = [*ThreadSerializer.Meta.fields, "messages", "messages_cursor"]


@shown_as(examples.EVENT)
class EventSerializer(RowSerializer[Event]):
    type = serializers.ChoiceField(choices=[event.value for event in EventType])
    data = StoredField(  # type: ignore[assignment]  # a field's name; the metaclass takes it away
        dict[str, Any], help_text="What belongs to this type: a reason, the sender, the subject."
    )

    class Meta:
        model = Event
        fields = "id type inbox_id thread_id message_id recipient occurred_at recorded_at data".split()
