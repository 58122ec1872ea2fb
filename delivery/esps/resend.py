"""Resend. Source: https://resend.com/docs/api-reference/emails/send-email and …/introduction (idempotency keys)"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from anymail.backends.resend import EmailBackend, ResendPayload  # type: ignore[import-untyped]
from anymail.inbound import AnymailInboundMessage  # type: ignore[import-untyped]

from delivery.esps.base import Arrived, Esp, Field, Hook, NotForUs
from delivery.esps.calls import Files, asked_json, downloaded, json_of, rebuilt
from delivery.esps.told import from_authentication_results
from delivery.fidelity import Fidelity
from threads.mime import parse_mail


class KeyedPayload(ResendPayload):  # type: ignore[misc]
    """With the Idempotency-Key as a header of the request; Anymail would make it a header of the mail."""

    def get_request_params(self, api_url: str) -> dict[str, Any]:
        params: dict[str, Any] = super().get_request_params(api_url)
        params["headers"] = {**params.get("headers", {}), "Idempotency-Key": self.message.metadata["mailbot_id"]}
        return params


class KeyedBackend(EmailBackend):  # type: ignore[misc]
    def build_message_payload(self, message: Any, defaults: Any) -> KeyedPayload:
        return KeyedPayload(message, defaults, self)


class Resend(Esp):
    key = "resend"
    label = "Resend"
    backend = "delivery.esps.resend.KeyedBackend"
    fields = (
        Field("api_key", "API key"),
        Field(
            "api_url",
            "API address",
            "Only for a test server. Otherwise https://api.resend.com/",
            is_secret=False,
            is_required=False,
        ),
        Field(
            "signing_secret", "Signing secret of the tracking webhook", "whsec_…", is_required=False, is_for_hooks=True
        ),
        Field(
            "inbound_secret", "Signing secret of the inbound webhook", "whsec_…", is_required=False, is_for_hooks=True
        ),
    )
    views = {
        Hook.TRACKING: "anymail.webhooks.resend.ResendTrackingWebhookView",
        Hook.INBOUND: "anymail.webhooks.resend.ResendInboundWebhookView",
    }
    signs_with = {Hook.TRACKING: "signing_secret", Hook.INBOUND: "inbound_secret"}
    retries_safely = True  # its keys are kept for 24 hours
    temporary_statuses = frozenset({409})  # the same key is still being worked on

    @classmethod
    def final_message_id_in(cls, event: Any) -> str:
        """Resend writes its own (https://resend.com/docs/webhooks/event-types)."""
        data = event.esp_event.get("data") or {}
        return str(data.get("message_id") or "")

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """https://resend.com/docs/dashboard/receiving/introduction: the call has no body of the mail."""
        told = json_of(request)
        if told.get("type") != "email.received":
            raise NotForUs("This address is for email.received; enter the one for tracking for the other events.")
        data = told["data"]
        recipients = tuple(address for name in ("to", "cc", "bcc") for address in data.get(name) or [])
        reference = {"email_id": data["email_id"]}
        return [Arrived(data["email_id"], str(data.get("from", "")), recipients, None, reference=reference)]

    @classmethod
    def fetch(cls, credentials: Mapping[str, str], reference: Mapping[str, Any]) -> Arrived:
        base = credentials.get("api_url") or "https://api.resend.com/"
        email_id = quote(reference["email_id"], safe="")
        url = f"{base.rstrip('/')}/emails/receiving/{email_id}"
        data = asked_json(url, {"Authorization": f"Bearer {credentials['api_key']}"})
        recipients = tuple(address for name in ("to", "cc", "bcc") for address in data.get(name) or [])
        download = (data.get("raw") or {}).get("download_url")
        raw = downloaded(download) if download else _put_together(data)
        fidelity = Fidelity.EXACT if download else Fidelity.REBUILT
        told = from_authentication_results(parse_mail(raw).headers, "amazonses.com")  # which takes its mail in
        return Arrived(reference["email_id"], str(data.get("from", "")), recipients, raw, fidelity, told=told)


def _put_together(data: Mapping[str, Any]) -> bytes:
    """Where Resend gives no raw mail: its fields, and the files that each have an address of their own."""
    headers = data.get("headers") or {}
    pairs = headers.items() if isinstance(headers, dict) else ((item["name"], item["value"]) for item in headers)
    told = Files()
    files = [
        AnymailInboundMessage.construct_attachment(
            content_type=file.get("content_type") or "application/octet-stream",
            content=told.get(file["download_url"]),
            filename=file.get("filename"),
            content_id=file.get("content_id"),
        )
        for file in data.get("attachments") or []
    ]
    message = AnymailInboundMessage.construct(
        from_email=data.get("from"),
        to=", ".join(data.get("to") or []) or None,
        cc=", ".join(data.get("cc") or []) or None,
        subject=data.get("subject"),
        headers=list(pairs),
        text=data.get("text"),
        html=data.get("html"),
        attachments=files,
    )
    if data.get("message_id") and "Message-ID" not in message:
        message["Message-ID"] = data["message_id"]
    return rebuilt(message)
