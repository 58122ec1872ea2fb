"""MailerSend. Source: https://developers.mailersend.com/api/v1/email.html"""

from collections.abc import Mapping, Sequence
from typing import Any

from delivery.esps.base import Arrived, Esp, Field, Hook, NotForUs, Tracks
from delivery.esps.calls import json_of
from delivery.esps.told import Told, domain_of
from delivery.fidelity import Fidelity


class MailerSend(Esp):
    key = "mailersend"
    label = "MailerSend"
    backend = "anymail.backends.mailersend.EmailBackend"
    tracks = frozenset(Tracks)
    fields = (
        Field("api_token", "API token"),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://api.mailersend.com/v1/",
        ),
        Field("signing_secret", "Signing secret of the tracking webhook", is_required=False, is_for_hooks=True),
        Field("inbound_secret", "Secret of the inbound route", is_required=False, is_for_hooks=True),
    )
    views = {
        Hook.TRACKING: "anymail.webhooks.mailersend.MailerSendTrackingWebhookView",
        Hook.INBOUND: "anymail.webhooks.mailersend.MailerSendInboundWebhookView",
    }
    signs_with = {Hook.TRACKING: "signing_secret", Hook.INBOUND: "inbound_secret"}
    takes_metadata = False

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """https://developers.mailersend.com/api/v1/inbound.html"""
        told = json_of(request)
        if told.get("type") != "inbound.message":
            raise NotForUs("This address is for an inbound route; enter the one for tracking for the webhook.")
        data = told["data"]
        recipients = tuple(one["email"] for one in data["recipients"]["rcptTo"])
        sender = str((data.get("sender") or {}).get("email", ""))
        raw = str(data["raw"]).encode()
        return [Arrived(str(data["id"]), sender, recipients, raw, Fidelity.DECODED, told=_told(data, sender))]


# The qualifiers of RFC 7208 4.6.2.
_SPF = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}


def _told(data: Mapping[str, Any], sender: str) -> Told:
    """`spf_check.code` is a qualifier; `dkim_check` says whether there is a right signature, not whose it is."""
    spf = data.get("spf_check") or {}
    dkim = {"True": "pass", "False": "fail"}.get(str(data.get("dkim_check")), "")
    return Told(spf=_SPF.get(str(spf.get("code")), ""), spf_domain=domain_of(sender), dkim=dkim)
