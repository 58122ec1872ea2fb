"""Handing a mail to whoever carries it on, and reading the answer as one of a closed set of outcomes."""

import smtplib
from collections.abc import Sequence
from dataclasses import dataclass
from email.encoders import encode_base64
from email.message import Message as ParsedMessage
from email.mime.base import MIMEBase
from email.parser import BytesParser
from email.policy import default as modern_policy
from typing import Any, Protocol

from anymail.exceptions import AnymailAPIError, AnymailRecipientsRefused  # type: ignore[import-untyped]
from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection

from delivery.models import OutboundMail, Recipient
from delivery.outbound.outcomes import Outcome, Report, Result
from delivery.outbound.sandbox import Sandbox
from inboxes.models import Mode
from threads.events import EventType

# Headers that Anymail takes from the message object itself.
OWN_HEADERS = frozenset(
    {"from", "to", "cc", "bcc", "subject", "reply-to", "mime-version", "content-type", "content-transfer-encoding"}
)


class Provider(Protocol):
    @property
    def name(self) -> str: ...

    def send(self, mail: OutboundMail, recipients: Sequence[Recipient]) -> Outcome:
        """Hand it over once. Raises nothing: what went wrong, and whether it may have been taken all the same, is the outcome."""


class RawMail:
    """As much of an `email.message.Message` as Django's backends ask of one, around bytes that must not change any more."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def as_bytes(self, unixfrom: bool = False, linesep: str = "\r\n") -> bytes:
        return self._raw if linesep == "\r\n" else self._raw.replace(b"\r\n", linesep.encode())

    def get_charset(self) -> None:
        return None


class FixedMessage(EmailMessage):
    def __init__(self, mail: OutboundMail, recipients: Sequence[Recipient]) -> None:
        super().__init__(from_email=mail.envelope_sender, to=[recipient.address for recipient in recipients])
        self._raw = RawMail(bytes(mail.raw))

    def message(self, **_: Any) -> Any:
        return self._raw


@dataclass(frozen=True, slots=True)
class DjangoBackend:
    """Django's e-mail backend from settings: the console, a smart host by SMTP, or an ESP through Anymail."""

    name: str

    def send(self, mail: OutboundMail, recipients: Sequence[Recipient]) -> Outcome:
        message = (
            anymail_message(mail, recipients) if self.name.startswith("anymail.") else FixedMessage(mail, recipients)
        )
        backend = get_connection(self.name, fail_silently=False)
        try:
            backend.open()
        except OSError as error:  # smtplib's errors are OSErrors; nothing was handed over yet
            return Outcome(Result.TEMPORARY, f"The smart host cannot be reached: {error}")
        try:
            backend.send_messages([message])
        except Exception as error:
            return outcome_of(error)
        finally:
            _close(backend)
        status = getattr(message, "anymail_status", None)
        return Outcome.sent(str(getattr(status, "message_id", None) or ""), refusals(message))


def refusals(message: Any) -> tuple[Report, ...]:
    """Recipients that were refused while others were taken. There is no second try for them: the mail has left."""
    refused: dict[str, tuple[int, bytes]] = getattr(message, "refused", {})
    return tuple(
        Report(EventType.MESSAGE_BOUNCED, address, f"{code} {text.decode('utf-8', 'replace')}")
        for address, (code, text) in refused.items()
    )


def _close(backend: Any) -> None:
    try:
        backend.close()
    except OSError:  # the peer hung up first: what it answered counts
        return


def anymail_message(mail: OutboundMail, recipients: Sequence[Recipient]) -> EmailMessage:
    """The mail as an object, for ESPs that take fields and not MIME; every field comes out of the fixed bytes."""
    parsed = BytesParser(policy=modern_policy).parsebytes(bytes(mail.raw))
    text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    by_kind: dict[str, list[str]] = {"to": [], "cc": [], "bcc": []}
    for recipient in recipients:
        by_kind[recipient.kind].append(recipient.address)
    message = EmailMultiAlternatives(
        subject=str(parsed["Subject"] or ""),
        body=text.get_content() if text else "",
        from_email=str(parsed["From"]),
        reply_to=[str(parsed["Reply-To"])] if parsed["Reply-To"] else None,
        headers={name: str(value) for name, value in parsed.items() if name.lower() not in OWN_HEADERS},
        to=by_kind["to"],
        cc=by_kind["cc"],
        bcc=by_kind["bcc"],
    )
    if html:
        message.attach_alternative(html.get_content(), "text/html")
    for part in parsed.iter_attachments():
        message.attach(_attachment(part))
    if mail.track_opens:
        message.track_opens = True  # type: ignore[attr-defined]
    return message


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


def outcome_of(error: Exception) -> Outcome:
    """What an exception of a backend says: surely refused for now, surely refused for good, or perhaps taken."""
    match error:
        case smtplib.SMTPRecipientsRefused():
            codes = [code for code, _ in error.recipients.values()]
            return _by_reply_code(max(codes, default=550), str(error))
        case smtplib.SMTPResponseException():
            return _by_reply_code(error.smtp_code, str(error))
        case AnymailRecipientsRefused():
            return Outcome(Result.PERMANENT, str(error))
        case AnymailAPIError():
            return _by_http_status(getattr(error, "status_code", None), str(error))
        case OSError():  # a time-out or a cut line after the mail began to flow
            return Outcome(Result.UNKNOWN, f"{type(error).__name__}: {error}")
    return Outcome(Result.PERMANENT, f"{type(error).__name__}: {error}")


def _by_reply_code(code: int, detail: str) -> Outcome:
    """RFC 5321 4.2.1: 4yz is for now, 5yz for good."""
    return Outcome(Result.TEMPORARY if 400 <= code < 500 else Result.PERMANENT, detail)


def _by_http_status(status: int | None, detail: str) -> Outcome:
    if status is None or status >= 500:
        return Outcome(Result.UNKNOWN, detail)
    return Outcome(Result.TEMPORARY if status in (408, 425, 429) else Result.PERMANENT, detail)


def provider_for(mail: OutboundMail) -> Provider:
    """What is sent from the sandbox never reaches a provider."""
    return Sandbox() if mail.mode == Mode.TEST else DjangoBackend(settings.EMAIL_BACKEND)
