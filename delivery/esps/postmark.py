"""Postmark. Source: https://postmarkapp.com/developer/api/email-api"""

from collections.abc import Mapping, Sequence
from typing import Any

from delivery.esps.base import Arrived, Esp, Field, Hook, MessageId, Tracks
from delivery.esps.calls import asked_json, json_of, rebuilt
from delivery.esps.told import NOTHING, Told, from_received_spf
from delivery.fidelity import Fidelity


class Postmark(Esp):
    key = "postmark"
    label = "Postmark"
    backend = "anymail.backends.postmark.EmailBackend"
    tracks = frozenset(Tracks)
    fields = (
        Field("server_token", "Server API token"),
        Field(
            "message_stream",
            "Message stream",
            is_secret=False,
            is_required=False,
            help="Empty: outbound, the default transactional stream.",
        ),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://api.postmarkapp.com/",
        ),
    )
    views = {
        Hook.TRACKING: "anymail.webhooks.postmark.PostmarkTrackingWebhookView",
        Hook.INBOUND: "anymail.webhooks.postmark.PostmarkInboundWebhookView",
    }
    message_id = MessageId.KEPT  # with the header that prepare sets

    @classmethod
    def prepare(cls, message: Any, mail_id: str) -> None:
        super().prepare(message, mail_id)
        message.extra_headers["X-PM-KeepID"] = "true"

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """https://postmarkapp.com/developer/webhooks/inbound-webhook"""
        told = json_of(request)
        message = view.parse_events(request)[0].message
        raw = str(told.get("RawEmail", "")).encode()
        return [
            Arrived(
                key=str(told["MessageID"]),
                sender=message.envelope_sender or "",
                recipients=(str(told["OriginalRecipient"]),),
                raw=raw or rebuilt(message),
                fidelity=Fidelity.DECODED if raw else Fidelity.REBUILT,
                told=_told(told.get("Headers")),
            )
        ]

    @classmethod
    def look_up(cls, credentials: Mapping[str, str], mail_id: str, message_id: str) -> str | None:
        """https://postmarkapp.com/developer/api/messages-api"""
        base = credentials.get("api_url") or "https://api.postmarkapp.com/"
        url = f"{base.rstrip('/')}/messages/outbound?count=1&offset=0&metadata_mailbot_id={mail_id}"
        found = asked_json(url, {"X-Postmark-Server-Token": credentials["server_token"]}).get("Messages") or [{}]
        return str(found[0].get("MessageID") or "") or None


def _told(headers: Any) -> Told:
    """It puts Received-SPF above all that the sender wrote; of signatures it tells nothing."""
    named = ((str(one.get("Name")).lower(), str(one.get("Value"))) for one in headers or ())
    return next((from_received_spf(value) for name, value in named if name == "received-spf"), NOTHING)
