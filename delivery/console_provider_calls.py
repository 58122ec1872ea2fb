"""What a provider's page says of its calls: whether they can be checked, when the last one came, and what became of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.utils import timezone

from delivery.esps import ESPS
from delivery.esps.base import Hook
from delivery.models import IN_TROUBLE, OutboundMail, ProviderEvent
from delivery.outbound.states import State
from delivery.provider_rows import webhook_urls
from inboxes.models import Provider
from mailbot.lib.console_cells import NOTHING, moment
from mailbot.lib.crypto import CannotDecrypt
from mailbot.lib.ids import first_id

MOST_COUNTED = 10_000
MOST_SHOWN = 20
PURPOSES = {Hook.TRACKING: "deliveries, bounces, complaints and opens", Hook.INBOUND: "incoming mail"}


@dataclass(frozen=True, slots=True)
class Webhook:
    """One address that the ESP calls. `checked_with` is the label of a field: of its value nothing is here."""

    purpose: str
    url: str = field(repr=False)
    checked_with: str
    is_missing: bool  # that field is empty, so that no call can be taken
    called_at: datetime | None


def webhooks(provider: Provider) -> list[Webhook]:
    """Those that its ESP can call."""
    esp = ESPS.get(provider.esp)
    if esp is None:
        return []
    urls, kept = webhook_urls(provider, settings.MAILBOT_URL), _kept(provider)
    return [
        Webhook(
            purpose=purpose,
            url=urls[hook],
            checked_with=signing.label if (signing := esp.signing_field(hook)) else "",
            is_missing=kept is not None and signing is not None and signing.name not in kept,
            called_at=getattr(provider, f"{hook}_called_at"),
        )
        for hook, purpose in PURPOSES.items()
        if hook in esp.views
    ]


def missing_secrets(webhooks: Iterable[Webhook]) -> dict[str, list[str]]:
    """By the label of an empty field, the purposes of the calls that cannot be taken without it."""
    found: dict[str, list[str]] = {}
    for webhook in webhooks:
        if webhook.is_missing:
            found.setdefault(webhook.checked_with, []).append(webhook.purpose)
    return found


def _kept(provider: Provider) -> frozenset[str] | None:
    """The names of the credentials that it has; None: they cannot be decrypted, and the page says so elsewhere."""
    try:
        return frozenset(name for name, value in provider.credentials.items() if value)
    except CannotDecrypt:
        return None


def events_of_a_day(provider: Provider) -> str:
    """How many it told in the last 24 hours, counted no further than anybody would read."""
    since = first_id("pevt", timezone.now() - timedelta(hours=24))
    number = ProviderEvent.objects.filter(provider=provider, pk__gte=since).order_by()[: MOST_COUNTED + 1].count()
    return f"{number:,}" if number <= MOST_COUNTED else f"more than {MOST_COUNTED:,}"


def troubled(provider: Provider) -> list[ProviderEvent]:
    """The newest that failed or were for nobody here, without what the ESP sent of them."""
    rows = ProviderEvent.objects.filter(IN_TROUBLE, provider=provider).order_by("-pk")
    return list(rows.defer("payload", "data")[:MOST_SHOWN])


@admin.display(description="on their way to it")
def on_the_wire(provider: Provider) -> str:
    number = OutboundMail.objects.filter(carrier=provider, state=State.SENDING).count()
    return f"{number} of at most {provider.concurrency} mail{'s' if provider.concurrency > 1 else ''} at a moment"


@admin.display(description="asked to wait until")
def waits_until(provider: Provider) -> Any:
    """A time that is over asks for nothing any more."""
    until = provider.waits_until
    return moment(until) if until and until > timezone.now() else NOTHING
