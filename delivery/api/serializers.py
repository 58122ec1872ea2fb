"""Shapes of sending in /v1."""

import base64
import binascii
import re
from datetime import datetime
from email.utils import getaddresses
from typing import Any

from django.conf import settings
from django.utils import timezone
from rest_framework import serializers

from delivery.api import examples
from delivery.outbound.compose import MEDIA_TYPE
from delivery.outbound.replies import MAX_RECIPIENTS, MAX_SUBJECT
from inboxes.api.serializers import MetadataField
from mailbot.api.schema import shown_as
from mailbot.api.views import StrictSerializer
from mailbot.lib.addresses import AddressError, canonical
from mailbot.lib.public_hosts import BadURL, check_url
from threads.api.serializers import MAX_LABELS, MAX_TOKEN, LabelField
from threads.mime import Address
from threads.mime_names import made_up_name, safe_name

MAX_ATTACHMENTS = 100
MAX_BODY = 5_000_000
# What we set ourselves, or what would let a caller speak for somebody else.
RESERVED_HEADERS = frozenset(
    "from to cc bcc sender reply-to subject date message-id in-reply-to references return-path received mime-version dkim-signature"
    " authentication-results received-spf content-type content-transfer-encoding content-disposition".split()
)
# And what commands a provider: by X-MC-BccAddress or X-SMTPAPI a mail would go to people whom nobody here has counted.
RESERVED_PREFIXES = (
    *("resent-", "arc-", "x-smtpapi", "x-mc-", "x-mailgun-", "x-pm-", "x-ses-", "x-msys-", "x-mj-", "x-sib-"),
    *("x-sparkpost-", "x-postmark-", "x-sendgrid-", "x-mailin-", "x-resend-", "x-mailersend-"),
    # In these our id of the mail goes along and comes back with news: with another one they would be of somebody else's mail.
    *("x-metadata", "idempotency"),
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,76}")


def one_line(text: str) -> str:
    """Whatever becomes a header must be one line: a line end would begin a header of the caller's own."""
    if any(character in text for character in "\r\n\0"):
        raise serializers.ValidationError("This must be one line: no CR, LF or NUL.")
    return text


class HeaderTextField(serializers.CharField):
    def to_internal_value(self, data: Any) -> str:
        return one_line(super().to_internal_value(data))


ADDRESS = {
    "type": "string",
    "maxLength": 998,
    "description": "`a@example.com` or `Name <a@example.com>`.",
    "examples": ["Carol <carol@shop.example>"],
}


class AddressField(serializers.Field[Address, Any, Any, Any]):
    """`a@example.com` or `"Name <a@example.com>"` → Address."""

    openapi = ADDRESS
    text = HeaderTextField(max_length=998)

    def to_internal_value(self, data: Any) -> Address:
        try:
            found = getaddresses([self.text.run_validation(data)])
        except RecursionError:  # the library goes down into "((((" call by call
            found = []
        if len(found) != 1 or not found[0][1]:
            raise serializers.ValidationError(
                f"“{data}” is not one address: write a@example.com or Name <a@example.com>."
            )
        name, address = found[0]
        try:
            canonical(address)
        except AddressError as error:
            raise serializers.ValidationError(str(error)) from error
        if not address.rpartition("@")[0].isascii():
            raise serializers.ValidationError(
                "A local part outside ASCII cannot be sent to: few servers take it (RFC 6531)."
            )
        return Address(name, address)


class AddressesField(serializers.ListField):
    """One address or a list of them."""

    openapi = {"oneOf": [ADDRESS, {"type": "array", "items": ADDRESS, "maxItems": MAX_RECIPIENTS}]}
    child = AddressField()

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_RECIPIENTS, **options)

    def to_internal_value(self, data: Any) -> list[Address]:
        return super().to_internal_value([data] if isinstance(data, str) else data)


class Base64Field(serializers.Field[bytes, Any, Any, Any]):
    openapi = {"type": "string", "contentEncoding": "base64", "description": "The file, in base64."}
    text = serializers.CharField(trim_whitespace=False, allow_blank=True)

    def to_internal_value(self, data: Any) -> bytes:
        try:
            return base64.b64decode("".join(self.text.run_validation(data).split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise serializers.ValidationError("This is not base64.") from error


def _check_url(url: str) -> None:
    try:
        check_url(url)
    except BadURL as error:
        raise serializers.ValidationError({"url": str(error)}) from error


class AttachmentBody(StrictSerializer):
    filename = HeaderTextField(max_length=255)
    content_type = HeaderTextField(
        max_length=255,
        required=False,
        default="",
        help_text="Left out: what the URL's server says, or application/octet-stream.",
    )
    content = Base64Field(required=False)
    content_id = HeaderTextField(max_length=200, required=False, default="")
    url = serializers.CharField(
        max_length=2000,
        required=False,
        help_text="In place of content: http or https, of a public host. It is fetched before the mail leaves.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("url" in attrs) is ("content" in attrs):
            raise serializers.ValidationError(
                {"content": "Give the file in base64 here, or a url to fetch it from: one of them."}
            )
        if "url" in attrs:
            _check_url(attrs["url"])
        kind = attrs["content_type"].partition(";")[0].strip().lower()
        kind = kind or ("" if "url" in attrs else "application/octet-stream")
        if kind and not MEDIA_TYPE.fullmatch(kind):
            raise serializers.ValidationError({"content_type": "This is not a media type such as application/pdf."})
        content_id = attrs["content_id"].strip()
        if content_id and not content_id.startswith("<"):
            content_id = f"<{content_id}>"
        return {
            **attrs,
            "content_type": kind,
            "content": attrs.get("content", b""),
            "url": attrs.get("url", ""),
            "filename": safe_name(attrs["filename"]) or made_up_name(kind, 1),
            "content_id": content_id,
        }


class HeadersField(serializers.DictField):
    openapi = {
        "type": "object",
        "maxProperties": 50,
        "propertyNames": {"pattern": f"^{_HEADER_NAME.pattern}$"},
        "additionalProperties": {"type": "string", "maxLength": 2000},
        "description": "Headers of your own; not those that the server sets or that command a provider.",
    }
    child = serializers.CharField(max_length=2000)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        headers = super().to_internal_value(data)
        if len(headers) > 50:
            raise serializers.ValidationError("These are more than 50 headers.")
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise serializers.ValidationError(f"“{name[:80]}” is not a header name.")
            if name.lower() in RESERVED_HEADERS or name.lower().startswith(RESERVED_PREFIXES):
                raise serializers.ValidationError(f"“{name}” is set by the server and cannot be given.")
            one_line(value)
        return headers


class ContentBody(StrictSerializer):
    """What a new mail, a reply and a forward have in common."""

    body_text = serializers.CharField(
        max_length=MAX_BODY, required=False, allow_blank=True, allow_null=True, trim_whitespace=False
    )
    body_html = serializers.CharField(
        max_length=MAX_BODY, required=False, allow_blank=True, allow_null=True, trim_whitespace=False
    )
    cc = AddressesField(required=False, allow_null=True)
    bcc = AddressesField(required=False, allow_null=True)
    # Not many=True: there, allow_null would be said of each attachment too.
    attachments: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=AttachmentBody(), required=False, allow_null=True, max_length=MAX_ATTACHMENTS
    )
    headers = HeadersField(required=False, allow_null=True)
    labels = serializers.ListField(child=LabelField(), max_length=MAX_LABELS, required=False, allow_null=True)
    metadata = MetadataField(required=False, allow_null=True)
    track_opens = serializers.BooleanField(required=False, allow_null=True)

    def validate_attachments(self, value: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
        files = value or []
        if sum(len(file["content"]) for file in files) > settings.SMTP_MAX_SIZE * 3 // 4:
            raise serializers.ValidationError("Together they are larger than a mail may be.")
        return files

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in attrs.items() if value is not None}


class ForcedField(serializers.BooleanField):
    def __init__(self) -> None:
        super().__init__(
            required=False, default=False, help_text="Also where a machine wrote that mail (docs/loop-guard.md)."
        )


@shown_as(examples.SEND)
class SendBody(ContentBody):
    to = AddressesField(allow_empty=False)
    subject = HeaderTextField(max_length=MAX_SUBJECT, required=False, allow_blank=True, allow_null=True)
    reply_to = AddressesField(required=False, allow_null=True)
    send_at = serializers.DateTimeField(required=False, allow_null=True)

    def validate_send_at(self, value: datetime | None) -> datetime | None:
        if value is not None and value <= timezone.now():
            raise serializers.ValidationError("This time is over: leave it out to send at once.")
        return value


@shown_as(examples.REPLY)
class ReplyBody(ContentBody):
    reply_all = serializers.BooleanField(required=False, default=False)
    force = ForcedField()
    agent = serializers.CharField(
        max_length=100, required=False, default="", help_text="The name under which you claimed the thread, if any."
    )
    thread_token = serializers.IntegerField(
        min_value=1, max_value=MAX_TOKEN, required=False, help_text="The token of your claim: an old one is refused."
    )

    def validate_headers(self, value: dict[str, str] | None) -> dict[str, str] | None:
        for name in value or ():
            if name.lower() == "auto-submitted":
                raise serializers.ValidationError(f"“{name}” is set by the server in answers and cannot be given.")
        return value


@shown_as(examples.CANCEL)
class CancelBody(StrictSerializer):
    reason = serializers.CharField(max_length=500, required=False, default="Cancelled.")


@shown_as(examples.FORWARD)
class ForwardBody(ContentBody):
    to = AddressesField(allow_empty=False)
    force = ForcedField()
