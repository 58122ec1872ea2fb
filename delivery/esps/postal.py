"""Postal. Source: https://docs.postalserver.io/developer/api"""

from delivery.esps.base import Esp, Field


class Postal(Esp):
    key = "postal"
    label = "Postal"
    backend = "anymail.backends.postal.EmailBackend"
    fields = (
        Field("api_key", "API key"),
        Field("api_url", "Address of the Postal server", is_secret=False, help="https://postal.example.com"),
    )
    takes_metadata = False
