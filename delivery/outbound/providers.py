"""Handing a mail to whoever carries it on, and reading the answer as one of a closed set of outcomes.

Carriers are called from threads that touch no database: what they need of a mail has been read before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from anymail.exceptions import AnymailError  # type: ignore[import-untyped]
from django.core.mail import get_connection

from delivery.esps import ESPS
from delivery.esps.base import Esp
from delivery.esps.smtp import Smtp
from delivery.models import OutboundMail, Recipient
from delivery.outbound.connections import HANDED_OVER, backend_of, close, forget, noting
from delivery.outbound.messages import FixedMessage, anymail_message, refusals
from delivery.outbound.outcomes import Outcome, Result
from delivery.outbound.refused import TOO_MANY, cannot_be_written, status_of, wait_of, was_not_connected
from delivery.outbound.signing import CannotSign
from inboxes.models import Provider
from mailbot.lib.crypto import CannotDecrypt
from mailbot.lib.public_hosts import PrivateHost

ANSWERS = (AnymailError, OSError)  # what a provider said, or that it said nothing; smtplib's errors are OSErrors


class Carrier(Protocol):
    @property
    def name(self) -> str: ...

    def send(self, mail: OutboundMail, recipients: Sequence[Recipient]) -> Outcome:
        """Hand it over once. Raises nothing: what went wrong, and whether it may have been taken all the same, is the outcome."""


@dataclass(frozen=True, slots=True)
class DjangoBackend:
    """The server's own way out, for inboxes that have no provider: the console, a smart host, or an ESP whose credentials are settings."""

    name: str

    def send(self, mail: OutboundMail, recipients: Sequence[Recipient]) -> Outcome:
        takes_fields = self.name.startswith("anymail.")
        try:
            message = anymail_message(mail, recipients) if takes_fields else FixedMessage(mail, recipients)
        except CannotSign as error:
            return Outcome(Result.TEMPORARY, str(error))
        backend = noting(get_connection(self.name, fail_silently=False))
        try:
            backend.open()
        except OSError as error:  # smtplib's errors are OSErrors; nothing was handed over yet
            return Outcome(Result.TEMPORARY, f"The smart host cannot be reached: {error}")
        try:
            return _handed_over(backend, message, Esp if takes_fields else Smtp, "The provider")
        finally:
            close(backend)


@dataclass(frozen=True, slots=True)
class EspCarrier:
    """A provider of inboxes.Provider, with the credentials of its row."""

    row: Provider

    @property
    def name(self) -> str:
        return self.row.name

    def send(self, mail: OutboundMail, recipients: Sequence[Recipient]) -> Outcome:
        esp = ESPS.get(self.row.esp)
        if esp is None:
            return Outcome(
                Result.TEMPORARY, f"Provider “{self.name}” is of an ESP that this mailbot lacks: {self.row.esp}."
            )
        try:
            message = _written(esp, mail, recipients)
        except CannotSign as error:
            return Outcome(Result.TEMPORARY, str(error))
        except Exception as error:
            return _unwritable(error, esp.label)
        try:
            with backend_of(self.row) as backend:
                outcome = _handed_over(backend, message, esp, esp.label)
        except Exception as error:
            return self._unreachable(error, esp)
        if outcome.result is Result.UNKNOWN:
            forget(self.row)
        return outcome

    def _unreachable(self, error: Exception, esp: type[Esp]) -> Outcome:
        """Before anything was handed over. It is the provider's fault or the operator's, and none of the mail."""
        if isinstance(error, CannotDecrypt):
            detail = f"The credentials of provider “{self.name}” cannot be read: {error} Enter them again, or give the key back."
        elif isinstance(error, PrivateHost):
            detail = f"Provider “{self.name}” cannot be used: {error}"
        elif isinstance(error, OSError):
            detail = f"{esp.label} cannot be reached: {error}"
        else:
            detail = f"Provider “{self.name}” is not set up rightly: {type(error).__name__}: {error}"
        return Outcome(Result.TEMPORARY, detail)


def _written(esp: type[Esp], mail: OutboundMail, recipients: Sequence[Recipient]) -> Any:
    message = anymail_message(mail, recipients, esp.tracks) if esp.takes_fields else FixedMessage(mail, recipients)
    esp.prepare(message, mail.pk)
    return message


def _unwritable(error: Exception, label: str) -> Outcome:
    detail = f"The mail cannot be put into the form that {label} takes: {type(error).__name__}: {error}"
    return cannot_be_written(error, label) or Outcome(Result.PERMANENT, detail)


def _handed_over(backend: Any, message: Any, esp: type[Esp], label: str) -> Outcome:
    """Raises nothing: from here on the provider may have it."""
    try:
        backend.send_messages([message])
    except Exception as error:
        return _read(error, message, esp, label)
    status = getattr(message, "anymail_status", None)
    return Outcome.sent(str(getattr(status, "message_id", None) or ""), refusals(message))


def _read(error: Exception, message: Any, esp: type[Esp], label: str) -> Outcome:
    if outcome := cannot_be_written(error, label):
        return outcome
    if was_not_connected(error):
        return Outcome(Result.TEMPORARY, f"{label} cannot be reached: {error}")
    if not isinstance(error, ANSWERS):  # a fault of ours, before the mail was handed over or after it
        return _lost(error) if getattr(message, HANDED_OVER, False) else _unwritable(error, label)
    outcome = esp.outcome_of(error)
    if outcome.result is Result.TEMPORARY:
        return replace(outcome, wait=wait_of(error), for_all=status_of(error) == TOO_MANY)
    return outcome


def _lost(error: Exception) -> Outcome:
    return Outcome(Result.UNKNOWN, f"The answer could not be read: {type(error).__name__}: {error}")
