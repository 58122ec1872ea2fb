"""Shapes of messages, threads and events in /v1."""

from typing import Any

from rest_framework import serializers

from mailbot.api.pagination import PageQuery
from mailbot.api.shapes import RowSerializer
from mailbot.api.views import StrictSerializer
from threads.events import EventType
from threads.models import Attachment, Event, Message, Thread

MAX_LABELS = 100


class LabelField(serializers.CharField):
    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=100, **options)


class LabelsBody(StrictSerializer):
    labels = serializers.ListField(child=LabelField(), max_length=MAX_LABELS)


class ThreadPatch(StrictSerializer):
    labels = serializers.ListField(child=LabelField(), max_length=MAX_LABELS, required=False)
    status = serializers.ChoiceField(choices=Thread.Status.choices, required=False)


class MessageQuery(PageQuery):
    direction = serializers.ChoiceField(choices=Message.Direction.choices, required=False)
    thread_id = serializers.CharField(max_length=40, required=False)
    to = serializers.CharField(max_length=320, required=False)
    subject = serializers.CharField(max_length=500, required=False)
    status = serializers.ChoiceField(choices=Message.Status.choices, required=False)
    after = serializers.CharField(max_length=40, required=False)
    before = serializers.CharField(max_length=40, required=False)
    has_attachment = serializers.BooleanField(required=False, default=None, allow_null=True)

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
    status = serializers.ChoiceField(choices=Thread.Status.choices, required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), "label": LabelField(required=False)}


class ThreadPageQuery(serializers.Serializer[Any]):
    cursor = serializers.CharField(required=False, max_length=500)


class EventQuery(PageQuery):
    thread_id = serializers.CharField(max_length=40, required=False)
    inbox_id = serializers.CharField(max_length=40, required=False)
    message_id = serializers.CharField(max_length=40, required=False)
    type = serializers.ChoiceField(choices=[event.value for event in EventType], required=False)
    after = serializers.CharField(max_length=40, required=False)


class AttachmentSerializer(RowSerializer[Attachment]):
    class Meta:
        model = Attachment
        fields = ("id", "filename", "content_type", "size", "content_id", "disposition", "sha256")


class MessageSerializer(RowSerializer[Message]):
    to_addresses = serializers.SerializerMethodField()
    cc = serializers.SerializerMethodField()
    bcc = serializers.SerializerMethodField()
    reply_to = serializers.SerializerMethodField()
    headers = serializers.SerializerMethodField()
    references = serializers.JSONField()
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

    def get_headers(self, message: Message) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in message.headers]

    def get_auth(self, message: Message) -> dict[str, str | None]:
        """Filled once inbound mail is authenticated."""
        return {"spf": None, "dkim": None, "dmarc": None}

    def get_trust(self, message: Message) -> dict[str, Any]:
        return {"score": None, "flags": message.flags}


def bare(addresses: list[dict[str, str]]) -> list[str]:
    return [item["address"] for item in addresses]


class ThreadSerializer(RowSerializer[Thread]):
    owner = serializers.SerializerMethodField()

    class Meta:
        model = Thread
        fields = "id inbox_id subject last_message_at message_count labels created_at participants preview status owner".split()

    def get_owner(self, thread: Thread) -> None:
        """Filled once threads can be claimed."""
        return


class EventSerializer(RowSerializer[Event]):
    class Meta:
        model = Event
        fields = "id type inbox_id thread_id message_id recipient occurred_at recorded_at data".split()
