"""Mailtrap. Source: https://api-docs.mailtrap.io/"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from delivery.esps.base import Arrived, Esp, Field, Hook, NotForUs
from delivery.esps.calls import asked_json, downloaded, json_of, recipients_in


class Mailtrap(Esp):
    key = "mailtrap"
    label = "Mailtrap"
    backend = "anymail.backends.mailtrap.EmailBackend"
    fields = (
        Field("api_token", "API token"),
        Field(
            "sandbox_id",
            "Sandbox",
            is_secret=False,
            is_required=False,
            help="The number of a Mailtrap sandbox, which sends nothing to anybody. Empty: real sending.",
        ),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://send.api.mailtrap.io/api/",
        ),
        Field("tracking_secret", "Signature key of the tracking webhook", is_required=False, is_for_hooks=True),
        Field("inbound_secret", "Signature key of the inbound webhook", is_required=False, is_for_hooks=True),
        Field(
            "inbound_api_url",
            "API address for inbound mail",
            "Only for a test server. Otherwise https://mailtrap.io/api/",
            is_secret=False,
            is_required=False,
            is_for_hooks=True,
        ),
    )
    views = {
        Hook.TRACKING: "anymail.webhooks.mailtrap.MailtrapTrackingWebhookView",
        Hook.INBOUND: "anymail.webhooks.mailtrap.MailtrapInboundWebhookView",
    }
    signs_with = {Hook.TRACKING: "tracking_secret", Hook.INBOUND: "inbound_secret"}

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """https://docs.mailtrap.io/: the call names the mail, and has none of it."""
        told = [item for item in json_of(request).get("events") or [] if item]
        if any(not str(item.get("event", "")).startswith("inbound") for item in told):
            raise NotForUs("This address is for inbound mail; enter the one for tracking for the other events.")
        # The number 1 is that of the call with which Mailtrap tries an address out.
        return [
            Arrived(_key(item), "", (), None, reference={name: item[name] for name in ("inbox_id", "message_id")})
            for item in told
            if item.get("inbox_id") not in (None, 1)
        ]

    @classmethod
    def fetch(cls, credentials: Mapping[str, str], reference: Mapping[str, Any]) -> Arrived:
        base = (credentials.get("inbound_api_url") or "https://mailtrap.io/api/").rstrip("/")
        inbox, message = (quote(str(reference[name]), safe="") for name in ("inbox_id", "message_id"))
        headers = {"Authorization": f"Bearer {credentials['api_token']}"}
        told = asked_json(f"{base}/inbound/inboxes/{inbox}/messages/{message}", headers)
        raw = downloaded(told["raw_message_url"])
        return Arrived(_key(reference), str(told.get("from") or ""), recipients_in(raw, told.get("to")), raw)


def _key(item: Mapping[str, Any]) -> str:
    return f"{item['inbox_id']}/{item['message_id']}"
