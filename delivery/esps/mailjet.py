"""Mailjet. Source: https://dev.mailjet.com/email/reference/send-emails/"""

from delivery.esps.base import Esp, Field


class Mailjet(Esp):
    key = "mailjet"
    label = "Mailjet"
    backend = "anymail.backends.mailjet.EmailBackend"
    fields = (
        Field("api_key", "API key"),
        Field("secret_key", "Secret key"),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://api.mailjet.com/v3.1/",
        ),
    )
