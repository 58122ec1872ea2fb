"""Mailjet. Source: https://dev.mailjet.com/email/reference/send-emails/"""

import hashlib
from collections.abc import Sequence
from typing import Any

from delivery.esps.base import Arrived, Esp, Field, Hook, Tracks
from delivery.esps.calls import json_of, rebuilt
from delivery.fidelity import Fidelity


class Mailjet(Esp):
    key = "mailjet"
    label = "Mailjet"
    backend = "anymail.backends.mailjet.EmailBackend"
    tracks = frozenset(Tracks)
    fields = (
        Field("api_key", "API key"),
        Field("secret_key", "Secret key"),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://api.mailjet.com/v3.1/",
        ),
    )
    views = {
        Hook.TRACKING: "anymail.webhooks.mailjet.MailjetTrackingWebhookView",
        Hook.INBOUND: "anymail.webhooks.mailjet.MailjetInboundWebhookView",
    }

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """https://dev.mailjet.com/email/guides/parse-api/: fields and parts, never the mail itself."""
        told, message = json_of(request), view.parse_events(request)[0].message
        key = hashlib.sha256(request.body).hexdigest()  # it gives no id, and what is rebuilt differs each time
        return [
            Arrived(key, str(told.get("Sender", "")), (str(told["Recipient"]),), rebuilt(message), Fidelity.REBUILT)
        ]
