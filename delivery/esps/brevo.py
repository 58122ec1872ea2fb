"""Brevo. Source: https://developers.brevo.com/reference/sendtransacemail"""

from datetime import timedelta
from typing import Any

from delivery.esps.base import Esp, Field, MessageId


class Brevo(Esp):
    key = "brevo"
    label = "Brevo"
    backend = "anymail.backends.brevo.EmailBackend"
    fields = (
        Field("api_key", "API key"),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://api.brevo.com/v3/",
        ),
    )
    message_id = MessageId.REPLACED
    retries_safely = True
    key_lifetime = timedelta(minutes=30)  # its documentation says of no longer time that a key is kept

    @classmethod
    def prepare(cls, message: Any, mail_id: str) -> None:
        super().prepare(message, mail_id)
        message.extra_headers["idempotencyKey"] = (
            mail_id  # in esp_extra it would take the place of all the mail's own headers
        )
