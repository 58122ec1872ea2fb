"""Mandrill. Source: https://mailchimp.com/developer/transactional/api/messages/"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from delivery.esps.base import Arrived, Esp, Field, Hook, NotForUs, Tracks
from delivery.esps.told import SPF, Told, word
from delivery.fidelity import Fidelity


class Mandrill(Esp):
    key = "mandrill"
    label = "Mandrill"
    backend = "anymail.backends.mandrill.EmailBackend"
    tracks = frozenset(Tracks)
    fields = (
        Field("api_key", "API key"),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://mandrillapp.com/api/1.0",
        ),
        Field("webhook_key", "Key of the tracking webhook", is_required=False, is_for_hooks=True),
        Field("inbound_webhook_key", "Key of the inbound webhook", is_required=False, is_for_hooks=True),
    )
    views = dict.fromkeys(Hook, "anymail.webhooks.mandrill.MandrillCombinedWebhookView")
    signs_with = {Hook.TRACKING: "webhook_key", Hook.INBOUND: "inbound_webhook_key"}

    @classmethod
    def view_options(cls, hook: Hook, credentials: Mapping[str, str]) -> dict[str, Any]:
        """The address is signed with the rest: it is the one that was entered there, and not what a proxy made of it."""
        return {"webhook_key": credentials[cls.signs_with[hook]], "webhook_url": credentials["webhook_url"]}

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """https://mailchimp.com/developer/transactional/docs/inbound-email/"""
        told = json.loads(request.POST["mandrill_events"])
        if any(item.get("event") != "inbound" for item in told):
            raise NotForUs("This address is for inbound mail; enter the one for tracking for the other events.")
        return [
            Arrived(
                "",
                "",
                (str(item["msg"]["email"]),),
                item["msg"]["raw_msg"].encode(),
                Fidelity.DECODED,
                told=_told(item["msg"]),
            )
            for item in told
        ]


def _told(message: Mapping[str, Any]) -> Told:
    """Whether there is a right signature, not whose it is; and not for which sender SPF was asked."""
    spf, dkim = message.get("spf") or {}, message.get("dkim") or {}
    signed = "pass" if dkim.get("valid") else "fail"
    return Told(spf=word(spf.get("result"), SPF), dkim=signed if dkim.get("signed") else "none" if dkim else "")
