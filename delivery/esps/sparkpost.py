"""SparkPost. Source: https://developers.sparkpost.com/api/transmissions/"""

import base64
from collections.abc import Sequence
from typing import Any

from delivery.esps.base import Arrived, Esp, Field, Hook, NotForUs, Tracks
from delivery.esps.calls import json_of
from delivery.fidelity import Fidelity


class SparkPost(Esp):
    key = "sparkpost"
    label = "SparkPost"
    backend = "anymail.backends.sparkpost.EmailBackend"
    tracks = frozenset(Tracks)
    fields = (
        Field("api_key", "API key"),
        Field(
            "subaccount", "Subaccount", is_secret=False, is_required=False, help="The number of a SparkPost subaccount."
        ),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="https://api.eu.sparkpost.com/api/v1 for the European region. Otherwise https://api.sparkpost.com/api/v1",
        ),
    )
    views = {
        Hook.TRACKING: "anymail.webhooks.sparkpost.SparkPostTrackingWebhookView",
        Hook.INBOUND: "anymail.webhooks.sparkpost.SparkPostInboundWebhookView",
    }

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """https://developers.sparkpost.com/api/relay-webhooks/"""
        found = []
        for item in json_of(request):
            told = item.get("msys", {}).get("relay_message")
            if told is None:
                if item.get("msys"):
                    raise NotForUs("This address is for relay webhooks; enter the one for tracking for the others.")
                continue  # a ping
            content = told["content"]
            is_exact = bool(content.get("email_rfc822_is_base64"))
            text = str(content["email_rfc822"])
            raw = base64.b64decode(text) if is_exact else text.encode()
            fidelity = Fidelity.EXACT if is_exact else Fidelity.DECODED
            found.append(Arrived("", str(told.get("msg_from") or ""), (str(told["rcpt_to"]),), raw, fidelity))
        return found
