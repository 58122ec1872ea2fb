"""Postal. Source: https://docs.postalserver.io/developer/api"""

import base64
from collections.abc import Sequence
from typing import Any

from delivery.esps.base import Arrived, Esp, Field, Hook, NotForUs
from delivery.esps.calls import json_of
from delivery.fidelity import Fidelity


class Postal(Esp):
    key = "postal"
    label = "Postal"
    backend = "anymail.backends.postal.EmailBackend"
    fields = (
        Field("api_key", "API key"),
        Field("api_url", "Address of the Postal server", is_secret=False, help="https://postal.example.com"),
        Field(
            "webhook_key",
            "Public key of its signatures",
            "p=… of its DKIM record, the base64 alone.",
            is_secret=False,
            is_required=False,
            is_for_hooks=True,
        ),
    )
    takes_metadata = False
    views = {
        Hook.TRACKING: "anymail.webhooks.postal.PostalTrackingWebhookView",
        Hook.INBOUND: "anymail.webhooks.postal.PostalInboundWebhookView",
    }
    signs_with = dict.fromkeys(Hook, "webhook_key")

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """https://docs.postalserver.io/features/http-payloads (as “raw message”)"""
        told = json_of(request)
        if "message" not in told or "rcpt_to" not in told:
            raise NotForUs("This address is for an HTTP endpoint that sends the raw message.")
        is_exact = told.get("base64") is True
        raw = base64.b64decode(told["message"]) if is_exact else str(told["message"]).encode()
        fidelity = Fidelity.EXACT if is_exact else Fidelity.DECODED
        sender = str(told.get("mail_from") or "")
        return [Arrived(str(told["id"]), sender, (str(told["rcpt_to"]),), raw, fidelity)]
