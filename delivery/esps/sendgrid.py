"""SendGrid. Source: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send"""

from delivery.esps.base import Esp, Field


class SendGrid(Esp):
    key = "sendgrid"
    label = "SendGrid"
    backend = "anymail.backends.sendgrid.EmailBackend"
    fields = (
        Field("api_key", "API key"),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://api.sendgrid.com/v3/",
        ),
    )
