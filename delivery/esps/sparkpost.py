"""SparkPost. Source: https://developers.sparkpost.com/api/transmissions/"""

from delivery.esps.base import Esp, Field


class SparkPost(Esp):
    key = "sparkpost"
    label = "SparkPost"
    backend = "anymail.backends.sparkpost.EmailBackend"
    fields = (
        Field("api_key", "API key"),
        Field(
            "subaccount", "Subaccount", is_secret=False, is_required=False, help="The number of a SparkPost subaccount."
        ),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="https://api.eu.sparkpost.com/api/v1 for the European region. Otherwise https://api.sparkpost.com/api/v1",
        ),
    )
