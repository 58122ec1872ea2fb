"""Mailgun. Source: https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages"""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import takewhile
from typing import Any

from anymail.exceptions import AnymailWebhookValidationFailure  # type: ignore[import-untyped]

from delivery.esps.base import Arrived, Esp, Field, Hook, MessageId, Tracks
from delivery.esps.calls import form_of, is_json, json_of, rebuilt, text_of
from delivery.esps.told import SPF, Told, domain_of, word
from delivery.fidelity import Fidelity
from threads.mime import parse_mail

SIGNED_FOR = timedelta(hours=12)


class Mailgun(Esp):
    key = "mailgun"
    label = "Mailgun"
    backend = "anymail.backends.mailgun.EmailBackend"
    tracks = frozenset(Tracks)
    fields = (
        Field("api_key", "Sending API key"),
        Field(
            "sender_domain",
            "Sending domain",
            is_secret=False,
            is_required=False,
            help="Empty: the domain of the sender's address.",
        ),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="https://api.eu.mailgun.net/v3 for the European region. Otherwise https://api.mailgun.net/v3",
        ),
        Field(
            "webhook_signing_key",
            "HTTP webhook signing key",
            "Of the account: Settings → API security.",
            is_required=False,
            is_for_hooks=True,
        ),
    )
    views = {
        Hook.TRACKING: "anymail.webhooks.mailgun.MailgunTrackingWebhookView",
        Hook.INBOUND: "anymail.webhooks.mailgun.MailgunInboundWebhookView",
    }
    signs_with = dict.fromkeys(Hook, "webhook_signing_key")
    message_id = MessageId.KEPT

    @classmethod
    def verify(cls, hook: Hook, request: Any, credentials: Mapping[str, str]) -> None:
        """Only the time and the token are signed, so a call that was overheard must not be used for long: its token counts once, and
        only while Mailgun itself would try again (8 hours)."""
        at = json_of(request)["signature"]["timestamp"] if is_json(request) else text_of(request, "timestamp")
        if not at.isdigit() or abs(time.time() - int(at)) > SIGNED_FOR.total_seconds():
            raise AnymailWebhookValidationFailure("The signature of this call is too old.")

    @classmethod
    def key_of(cls, event: Any) -> list[Any]:
        """The token alone, so that under an overheard one nothing else can be said."""
        return [event.event_id]

    @classmethod
    def arrived(cls, view: Any, request: Any) -> Sequence[Arrived]:
        """https://documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/"""
        raw = form_of(request).get("body-mime", b"")
        return [
            Arrived(
                key=text_of(request, "token"),
                sender=text_of(request, "sender"),
                recipients=tuple(text_of(request, "recipient").split(",")),
                raw=raw or rebuilt(view.parse_events(request)[0].message),
                fidelity=Fidelity.EXACT if raw else Fidelity.REBUILT,
                told=_told(raw, text_of(request, "sender")),
            )
        ]


def _told(raw: bytes, sender: str) -> Told:
    """With its spam filter on, Mailgun writes X-Mailgun-Spf; a sender could do so too, but only below the first Received field."""
    above = takewhile(lambda field: field[0].lower() != "received", parse_mail(raw).headers)
    spf = next((value for name, value in above if name.lower() == "x-mailgun-spf"), "")
    return Told(spf=word(spf, SPF), spf_domain=domain_of(sender))
