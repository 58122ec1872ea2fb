"""A queued mail as the objects that Django's and Anymail's backends take; every field of them comes out of the fixed bytes."""

from collections.abc import Sequence
from email.encoders import encode_base64
from email.message import Message as ParsedMessage
from email.mime.base import MIMEBase
from email.parser import BytesParser
from email.policy import EmailPolicy
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives

from delivery.esps.base import Tracks
from delivery.models import OutboundMail, Recipient
from delivery.outbound.outcomes import Report
from delivery.outbound.signing import signed
from threads.events import EventType

# Headers that Anymail takes from the message object itself.
OWN_HEADERS = frozenset(
    {"from", "to", "cc", "bcc", "subject", "reply-to", "mime-version", "content-type", "content-transfer-encoding"}
)
REFUSED = frozenset({"invalid", "rejected", "failed"})  # what Anymail calls recipients that the ESP did not take


class _Remembering(EmailPolicy):
    """The email package reads a header anew each time that it is asked for it, and asks ten times for one Content-Type."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        return value if hasattr(value, "name") else _header(name, value)


@lru_cache(maxsize=512)
def _header(name: str, value: str) -> Any:
    return EmailPolicy.header_fetch_parse(POLICY, name, value)


POLICY = _Remembering()


class RawMail:
    """As much of an `email.message.Message` as Django's backends ask of one, around bytes that must not change any more."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def as_bytes(self, unixfrom: bool = False, linesep: str = "\r\n") -> bytes:
        return self._raw if linesep == "\r\n" else self._raw.replace(b"\r\n", linesep.encode())

    def get_charset(self) -> None:
        return None


class FixedMessage(EmailMessage):
    """The mail as its bytes, signed. Raises CannotSign."""

    def __init__(self, mail: OutboundMail, recipients: Sequence[Recipient]) -> None:
        super().__init__(from_email=mail.envelope_sender, to=[recipient.address for recipient in recipients])
        self._raw = RawMail(signed(mail))

    def message(self, **_: Any) -> Any:
        return self._raw


def anymail_message(
    mail: OutboundMail, recipients: Sequence[Recipient], tracks: frozenset[Tracks] = frozenset()
) -> EmailMessage:
    """The mail as an object, for ESPs that take fields and not MIME; every field comes out of the fixed bytes.

    `tracks`: what its ESP can be asked to see; of clicks only where no link of ours sees them.
    """
    parsed: Any = BytesParser(policy=POLICY).parsebytes(bytes(mail.raw))
    text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    by_kind: dict[str, list[str]] = {"to": [], "cc": [], "bcc": []}
    for recipient in recipients:
        by_kind[recipient.kind].append(recipient.address)
    if not by_kind["to"]:  # those named there are left out, and ESPs want somebody: whoever is in Cc is seen there too
        by_kind["to"], by_kind["cc"] = by_kind["cc"], []
    message = EmailMultiAlternatives(
        subject=str(parsed["Subject"] or ""),
        body=text.get_content() if text else "",
        from_email=str(parsed["From"]),
        reply_to=[str(reply_to)] if (reply_to := parsed["Reply-To"]) else None,
        headers=_other_headers(parsed),
        to=by_kind["to"],
        cc=by_kind["cc"],
        bcc=by_kind["bcc"],
    )
    page = html.get_content() if html else ""
    if page:
        message.attach_alternative(page, "text/html")
    for part in parsed.iter_attachments():
        message.attach(_attachment(part))
    if mail.track_opens and Tracks.OPENS in tracks:
        message.track_opens = True  # type: ignore[attr-defined]
    if mail.inbox.track_clicks and Tracks.CLICKS in tracks and f"{settings.TRACKING_URL}/t/c/" not in page:
        message.track_clicks = True  # type: ignore[attr-defined]
    return message


def _other_headers(parsed: ParsedMessage) -> dict[str, str]:
    """Only these are read: what a header says is found out each time that it is asked, and is most of the work here."""
    policy = parsed.policy
    return {
        name: str(policy.header_fetch_parse(name, value))
        for name, value in parsed.raw_items()
        if name.lower() not in OWN_HEADERS
    }


def _attachment(part: ParsedMessage) -> MIMEBase:
    """With its headers, so that the disposition and the Content-ID of an inline image stay."""
    attached = MIMEBase(part.get_content_maintype(), part.get_content_subtype())
    attached.set_payload(part.get_payload(decode=True))
    encode_base64(attached)
    attached.add_header(
        "Content-Disposition", part.get_content_disposition() or "attachment", filename=part.get_filename() or ""
    )
    if content_id := part.get("Content-ID"):
        attached["Content-ID"] = str(content_id)
    return attached


def refusals(message: Any) -> tuple[Report, ...]:
    """Recipients that were refused while others were taken. There is no second try for them: the mail has left."""
    by_smtp: dict[str, tuple[int, bytes]] = getattr(message, "refused", {})
    by_esp: dict[str, Any] = getattr(getattr(message, "anymail_status", None), "recipients", {})
    return (
        *(
            Report(EventType.MESSAGE_BOUNCED, address, f"{code} {text.decode('utf-8', 'replace')}")
            for address, (code, text) in by_smtp.items()
        ),
        *(
            Report(EventType.MESSAGE_FAILED, address, f"The provider says: {told.status}.")
            for address, told in by_esp.items()
            if told.status in REFUSED
        ),
    )
