"""Postmark. Source: https://postmarkapp.com/developer/api/email-api"""

from typing import Any

from delivery.esps.base import Esp, Field, MessageId


class Postmark(Esp):
    key = "postmark"
    label = "Postmark"
    backend = "anymail.backends.postmark.EmailBackend"
    fields = (
        Field("server_token", "Server API token"),
        Field(
            "message_stream",
            "Message stream",
            is_secret=False,
            is_required=False,
            help="Empty: outbound, the default transactional stream.",
        ),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://api.postmarkapp.com/",
        ),
    )
    message_id = MessageId.KEPT  # with the header that prepare sets

    @classmethod
    def prepare(cls, message: Any, mail_id: str) -> None:
        super().prepare(message, mail_id)
        message.extra_headers["X-PM-KeepID"] = "true"
