"""Shapes of /v1/simulate."""

from typing import Any

from rest_framework import serializers

from delivery.api import examples
from delivery.api.serializers import (
    MAX_ATTACHMENTS,
    MAX_BODY,
    AddressesField,
    AddressField,
    AttachmentBody,
    HeadersField,
    HeaderTextField,
)
from delivery.outbound.replies import MAX_SUBJECT
from delivery.simulating import NEWS
from mailbot.api.fields import OneOf, StoredField
from mailbot.api.schema import shown_as
from mailbot.api.shapes import RowSerializer
from mailbot.api.views import StrictSerializer
from mailbot.lib.ids import ID_LENGTH
from threads.api.serializers import RecipientState
from threads.models import Message


@shown_as(examples.RECEIVED)
class ReceivedBody(StrictSerializer):
    inbox_id = serializers.CharField(max_length=ID_LENGTH)
    subject = HeaderTextField(max_length=MAX_SUBJECT, required=False)
    body_text = serializers.CharField(max_length=MAX_BODY, required=False, allow_blank=True, trim_whitespace=False)
    body_html = serializers.CharField(max_length=MAX_BODY, required=False, allow_blank=True, trim_whitespace=False)
    headers = HeadersField(required=False)
    attachments: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=AttachmentBody(), required=False, max_length=MAX_ATTACHMENTS
    )
    reply_to_message_id = serializers.CharField(
        max_length=ID_LENGTH,
        required=False,
        help_text="A message of the inbox that is answered: the mail enters its thread, and comes from its recipient.",
    )
    date = serializers.DateTimeField(required=False, help_text="What its Date header says. Left out: now.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {"from": AddressField(required=False), **super().get_fields()}

    def validate_attachments(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if any(file["url"] for file in value):
            raise serializers.ValidationError("Give the files in base64: a mail that comes in has them in it.")
        return value


class ToldBody(StrictSerializer):
    message_id = serializers.CharField(max_length=ID_LENGTH)
    recipients = AddressesField(required=False, allow_empty=False, help_text="Of the mail. Left out: all of them.")
    reason = HeaderTextField(max_length=500, required=False)


@shown_as(examples.NEWS)
class NewsBody(ToldBody):
    bounce = OneOf(
        choices=["hard", "soft"], required=False, help_text="Of `bounced`. A soft bounce is `message.deferred`."
    )


@shown_as(examples.LATE)
class LateBody(ToldBody):
    event = OneOf(choices=list(NEWS))


@shown_as(examples.LATE)
class DoubledBody(ToldBody):
    event = OneOf(choices=list(NEWS), required=False)


@shown_as(examples.SIMULATED_MAIL)
class SimulatedMailSerializer(RowSerializer[Message]):
    """What was written: it is no message before a worker has read it."""

    class Meta:
        model = Message
        fields = "inbox_id message_id_header from_address subject in_reply_to size".split()


@shown_as(examples.SIMULATED_NEWS)
class SimulatedNewsSerializer(RowSerializer[Message]):
    """Of the message, what became of it; not what it says, which another right opens."""

    recipients = StoredField(list[RecipientState])

    class Meta:
        model = Message
        fields = "id inbox_id thread_id status recipients repeat_count".split()
