"""Brevo. Source: https://developers.brevo.com/reference/sendtransacemail"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from anymail.inbound import AnymailInboundMessage  # type: ignore[import-untyped]

from delivery.esps.base import Arrived, Esp, Field, Hook, MessageId
from delivery.esps.calls import Files, json_of, rebuilt
from delivery.fidelity import Fidelity


class Brevo(Esp):
    key = "brevo"
    label = "Brevo"
    backend = "anymail.backends.brevo.EmailBackend"
    fields = (
        Field("api_key", "API key"),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://api.brevo.com/v3/",
        ),
    )
    views = {
        Hook.TRACKING: "anymail.webhooks.brevo.BrevoTrackingWebhookView",
        Hook.INBOUND: "anymail.webhooks.brevo.BrevoInboundWebhookView",
    }
    message_id = MessageId.REPLACED
    retries_safely = True
    key_lifetime = timedelta(minutes=30)  # its documentation says of no longer time that a key is kept

    @classmethod
    def prepare(cls, message: Any, mail_id: str) -> None:
        super().prepare(message, mail_id)
        message.extra_headers["idempotencyKey"] = (
            mail_id  # in esp_extra it would take the place of all the mail's own headers
        )

    @classmethod
    def final_message_id(cls, provider_message_id: str, credentials: Mapping[str, str]) -> str:
        return provider_message_id  # what its API answers is the header

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """https://developers.brevo.com/docs/inbound-parse-webhooks: files are fetched one by one, by a token."""
        return [
            Arrived(_key(item), _sender(item), _recipients(item), None, Fidelity.REBUILT, {"item": item})
            for item in json_of(request).get("items", [])
        ]

    @classmethod
    def fetch(cls, credentials: Mapping[str, str], reference: Mapping[str, Any]) -> Arrived:
        item = reference["item"]
        base = (credentials.get("api_url") or "https://api.brevo.com/v3/").rstrip("/")
        headers = [
            (name, value)
            for name, values in item.get("Headers", {}).items()
            for value in ([values] if isinstance(values, str) else values)
        ]
        told = Files()
        files = [
            AnymailInboundMessage.construct_attachment(
                content_type=file.get("ContentType") or "application/octet-stream",
                content=told.get(
                    f"{base}/inbound/attachments/{quote(file['DownloadToken'], safe='')}",
                    {"api-key": credentials["api_key"]},
                ),
                filename=file.get("Name"),
                content_id=file.get("ContentID"),
            )
            for file in item.get("Attachments") or []
        ]
        text, html = item.get("RawTextBody") or "", item.get("RawHtmlBody")
        message = AnymailInboundMessage.construct(headers=headers, text=text, html=html, attachments=files)
        return Arrived(_key(item), _sender(item), _recipients(item), rebuilt(message), Fidelity.REBUILT)


def _key(item: Mapping[str, Any]) -> str:
    return str(next(iter(item.get("Uuid") or []), ""))


def _sender(item: Mapping[str, Any]) -> str:
    return header_of(item, "Return-Path").strip("<> ") or str((item.get("From") or {}).get("Address", ""))


def _recipients(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The envelope's, as far as Brevo tells; otherwise whoever is named."""
    delivered = header_of(item, "Delivered-To").strip("<> ")
    named = [one.get("Address", "") for name in ("To", "Cc") for one in item.get(name) or []]
    return tuple([delivered] if delivered else [*(item.get("Recipients") or []), *named])


def header_of(item: Mapping[str, Any], name: str) -> str:
    values = item.get("Headers", {}).get(name) or ""
    return values if isinstance(values, str) else str(values[0])
