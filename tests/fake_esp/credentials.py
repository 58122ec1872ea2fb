"""What a customer of the fake ESP enters for each ESP."""

from delivery.esps import ESPS

URL_FIELDS = ("api_url", "endpoint_url")
OTHERS = {"region": "eu-central-1", "sender_domain": "mg.example.com"}


def credentials_for(esp: str, url: str) -> dict[str, str]:
    """Everything that it must have to send, with the fake's address."""
    fields = {field.name: field for field in ESPS[esp].fields}
    made = {name: OTHERS.get(name, f"the-{name}") for name, field in fields.items() if field.is_required}
    return made | {name: url for name in URL_FIELDS if name in fields} | {k: v for k, v in OTHERS.items() if k in made}
