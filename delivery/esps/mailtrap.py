"""Mailtrap. Source: https://api-docs.mailtrap.io/"""

from delivery.esps.base import Esp, Field


class Mailtrap(Esp):
    key = "mailtrap"
    label = "Mailtrap"
    backend = "anymail.backends.mailtrap.EmailBackend"
    fields = (
        Field("api_token", "API token"),
        Field(
            "sandbox_id",
            "Sandbox",
            is_secret=False,
            is_required=False,
            help="The number of a Mailtrap sandbox, which sends nothing to anybody. Empty: real sending.",
        ),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://send.api.mailtrap.io/api/",
        ),
    )
