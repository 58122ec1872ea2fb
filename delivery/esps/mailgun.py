"""Mailgun. Source: https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages"""

from delivery.esps.base import Esp, Field, MessageId


class Mailgun(Esp):
    key = "mailgun"
    label = "Mailgun"
    backend = "anymail.backends.mailgun.EmailBackend"
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
    )
    message_id = MessageId.KEPT
