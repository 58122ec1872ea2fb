"""SendGrid. Source: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send"""

import json
import re
from collections.abc import Sequence
from typing import Any

from delivery.esps.base import Arrived, Esp, Field, Hook, NotForUs, Tracks
from delivery.esps.calls import form_of, rebuilt, text_of
from delivery.esps.told import DKIM, SPF, Told, domain_of, word
from delivery.fidelity import Fidelity


class SendGrid(Esp):
    key = "sendgrid"
    label = "SendGrid"
    backend = "anymail.backends.sendgrid.EmailBackend"
    tracks = frozenset(Tracks)
    fields = (
        Field("api_key", "API key"),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://api.sendgrid.com/v3/",
        ),
        Field(
            "tracking_webhook_verification_key",
            "Verification key of the event webhook",
            "Of the signed event webhook, base64.",
            is_secret=False,
            is_required=False,
            is_for_hooks=True,
        ),
    )
    views = {
        Hook.TRACKING: "anymail.webhooks.sendgrid.SendGridTrackingWebhookView",
        Hook.INBOUND: "anymail.webhooks.sendgrid.SendGridInboundWebhookView",
    }
    signs_with = {Hook.TRACKING: "tracking_webhook_verification_key"}  # its inbound calls are not signed

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook"""
        form = form_of(request)
        if "envelope" not in form:
            raise NotForUs("This address is for the inbound parse webhook.")
        envelope, raw = json.loads(form["envelope"]), form.get("email", b"")
        return [
            Arrived(
                key="",
                sender=str(envelope.get("from") or ""),
                recipients=tuple(envelope.get("to") or ()),
                raw=raw or rebuilt(view.parse_events(request)[0].message),
                fidelity=Fidelity.DECODED if raw else Fidelity.REBUILT,
                told=_told(text_of(request, "SPF"), text_of(request, "dkim"), str(envelope.get("from") or "")),
            )
        ]


_SIGNATURE = re.compile(r"@([A-Za-z0-9._-]{1,255})\s*:\s*([a-z]+)")


def _told(spf: str, dkim: str, sender: str) -> Told:
    """`SPF` is a word; `dkim` is `none`, or `{@example.com : pass, @example.net : fail}`."""
    signatures = _SIGNATURE.findall(dkim[:8000])
    right = tuple(domain.lower() for domain, result in signatures if result == "pass")
    others = word(signatures[0][1] if signatures else dkim, DKIM)
    return Told(word(spf, SPF), domain_of(sender), "pass" if right else others, right)
