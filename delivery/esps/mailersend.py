"""MailerSend. Source: https://developers.mailersend.com/api/v1/email.html"""

from delivery.esps.base import Esp, Field


class MailerSend(Esp):
    key = "mailersend"
    label = "MailerSend"
    backend = "anymail.backends.mailersend.EmailBackend"
    fields = (
        Field("api_token", "API token"),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://api.mailersend.com/v1/",
        ),
    )
    takes_metadata = False
