"""Scaleway. Source: https://www.scaleway.com/en/developers/api/transactional-email/"""

from delivery.esps.base import Esp, Field


class Scaleway(Esp):
    key = "scaleway"
    label = "Scaleway"
    backend = "anymail.backends.scaleway.EmailBackend"
    fields = (
        Field("secret_key", "Secret key"),
        Field("project_id", "Project", is_secret=False),
        Field("region", "Region", is_secret=False, default="fr-par"),
        Field(
            "api_url",
            "API address",
            is_secret=False,
            is_required=False,
            help="Only for another region or a test server. Otherwise https://api.scaleway.com/transactional-email/v1alpha1/regions/{region}/",
        ),
    )
