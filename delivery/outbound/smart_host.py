"""Django's SMTP backend, with the one thing kept that it throws away: which recipients were refused while others were taken."""

import smtplib
from typing import Any

from django.core.mail.backends.smtp import EmailBackend


class SmartHostBackend(EmailBackend):
    """Sends exactly the bytes of a FixedMessage; leaves `refused` on it: {address: (code, text)}, empty when all were taken."""

    def _send(self, email_message: Any) -> bool:
        connection: smtplib.SMTP = self.connection  # type: ignore[assignment]
        raw = email_message.message().as_bytes(linesep="\r\n")
        email_message.refused = connection.sendmail(email_message.from_email, email_message.recipients(), raw)
        return True
