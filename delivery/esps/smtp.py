"""A smart host by SMTP. Source: RFC 5321, RFC 6409"""

import smtplib
from collections.abc import Mapping
from typing import Any

from delivery.esps.base import TIMEOUT, Esp, Field, InvalidCredentials, MessageId
from delivery.outbound.outcomes import Outcome, Result

SECURITY = ("starttls", "tls", "none")


class Smtp(Esp):
    key = "smtp"
    label = "SMTP"
    backend = "delivery.outbound.smart_host.SmartHostBackend"
    fields = (
        Field("host", "Host", is_secret=False),
        Field("port", "Port", is_secret=False, default="587"),
        Field(
            "security", "Security", "starttls, tls (from the first octet) or none.", is_secret=False, default="starttls"
        ),
        Field("username", "User name", is_secret=False, is_required=False),
        Field("password", "Password", is_required=False),
    )
    message_id = MessageId.KEPT
    takes_fields = False
    signs = False
    keeps_open = False  # servers end an idle session, and then nobody knows what became of the mail that finds it so

    @classmethod
    def check(cls, credentials: Mapping[str, str]) -> dict[str, str]:
        kept = super().check(credentials)
        wrong = {}
        if not kept["port"].isdigit() or not 0 < int(kept["port"]) < 65536:
            wrong["port"] = "is a number from 1 to 65535"
        if kept["security"] not in SECURITY:
            wrong["security"] = f"is one of {', '.join(SECURITY)}"
        if wrong:
            raise InvalidCredentials(wrong)
        return kept

    @classmethod
    def options(cls, credentials: Mapping[str, str]) -> dict[str, Any]:
        return {
            "host": credentials["host"],
            "port": int(credentials["port"]),
            "username": credentials.get("username", ""),
            "password": credentials.get("password", ""),
            "use_tls": credentials["security"] == "starttls",
            "use_ssl": credentials["security"] == "tls",
            "timeout": TIMEOUT,
        }

    @classmethod
    def prepare(cls, message: Any, mail_id: str) -> None:
        """The bytes are fixed, and SMTP has no metadata."""

    @classmethod
    def outcome_of(cls, error: Exception) -> Outcome:
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            codes = [code for code, _ in error.recipients.values()]
            words = "; ".join(dict.fromkeys(_words(code, text) for code, text in error.recipients.values()))
            return _by_reply_code(max(codes, default=550), words)
        if isinstance(error, smtplib.SMTPDataError) and not 400 <= error.smtp_code < 600:
            return Outcome(Result.UNKNOWN, str(error))  # what came behind the mail was no reply, or none that there is
        if isinstance(error, smtplib.SMTPResponseException):
            return _by_reply_code(error.smtp_code, _words(error.smtp_code, error.smtp_error))
        return super().outcome_of(error)


def _by_reply_code(code: int, detail: str) -> Outcome:
    """RFC 5321 4.2.1: 5yz is for good, 4yz for now; and what was no reply came before the mail was handed over."""
    return Outcome(Result.PERMANENT if 500 <= code < 600 else Result.TEMPORARY, detail)


def _words(code: int, text: bytes | str) -> str:
    """As the server said it, in one line."""
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return " ".join(f"{code} {said}".split())
