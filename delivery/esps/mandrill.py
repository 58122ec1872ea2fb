"""Mandrill. Source: https://mailchimp.com/developer/transactional/api/messages/"""

from delivery.esps.base import Esp, Field


class Mandrill(Esp):
    key = "mandrill"
    label = "Mandrill"
    backend = "anymail.backends.mandrill.EmailBackend"
    fields = (
        Field("api_key", "API key"),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://mandrillapp.com/api/1.0",
        ),
    )
