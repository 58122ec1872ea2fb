"""One call of an ESP: checked with the secrets of its row, read by Anymail's own view, and stored."""

import hashlib
import json
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from email.utils import parseaddr
from typing import Any, NamedTuple

from anymail.exceptions import AnymailInsecureWebhookWarning  # type: ignore[import-untyped]
from django.conf import settings
from django.db import transaction

from delivery.esps import ESPS
from delivery.esps.base import Arrived, Esp, Hook, NotForUs
from delivery.hooks.bounce_type import bounce_data
from delivery.inbound.receive import (
    InboundRecipient,
    Outcome,
    ReceivedMail,
    StorageError,
    storable,
    store_inbound_mail,
)
from delivery.models import ProviderEvent
from delivery.provider_rows import webhook_urls
from delivery.slow_work import WAIT_TASK
from inboxes.models import Provider
from inboxes.routing import find_inboxes
from mailbot.lib.addresses import AddressError, CanonicalAddress, canonical
from mailbot.lib.bulk import bulk_insert, new_row
from mailbot.lib.hints import ring_on_commit

# It asks for a password beside the secret that is in our addresses.
warnings.filterwarnings("ignore", category=AnymailInsecureWebhookWarning)

NEWS_TASK = "delivery.tasks.process_provider_events"
INBOUND = "inbound"  # as Anymail calls the one event that is none of ours
UNROUTED = "No inbox here has this address."


class NoRoom(Exception):
    """Whose mail it is has no room left: the ESP must keep it and call again."""


class Unreadable(ValueError):
    """It has another shape than what the ESP sends; the message says what was missing."""


class Taken(NamedTuple):
    """How many events and mails a call told, whether they were new or not, and how many of the mails are for nobody here."""

    events: int = 0
    mails: int = 0
    unrouted: int = 0


def take_call(provider: Provider, hook: Hook, request: Any) -> Taken:
    """Check, read and store a call.

    Raises AnymailWebhookValidationFailure when it is not the ESP's, MissingSecret and CannotDecrypt when nobody can say, NotForUs,
    Unreadable and what Anymail raises when it cannot be read, NoRoom and StorageError when it cannot be kept now.
    """
    try:
        events, mails = _read(provider, hook, request)
    except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    stored = _store_events(events)
    return take_arrived(provider, mails) if mails else stored


def _read(provider: Provider, hook: Hook, request: Any) -> tuple[Sequence[ProviderEvent], Sequence[Arrived]]:
    """Check a call, and read it."""
    esp = ESPS[provider.esp]
    if hook not in esp.views:
        raise NotForUs(f"{esp.label} has no webhook for {hook}.")
    credentials = {**provider.credentials, "webhook_url": webhook_urls(provider, settings.MAILBOT_URL)[hook]}
    view = esp.view(hook, credentials)
    _ = request.body  # as octets, before anybody reads it as a form
    view.setup(request)
    view.run_validators(request)
    esp.verify(hook, request, credentials)
    if url := esp.confirmation(request):
        return [_confirmation(provider, url)], []
    if hook is Hook.TRACKING:
        return [_news(provider, esp, event) for event in view.parse_events(request) if event], []
    return [], esp.arrived(view, request)


# --- Events ---


def _store_events(rows: Sequence[ProviderEvent]) -> Taken:
    """A row that is there by its key stays as it is: the ESP told it before."""
    if not rows:
        return Taken()
    with transaction.atomic():
        bulk_insert(rows, unless_there=True)
        ring_for({row.kind for row in rows})
    return Taken(events=len(rows))


def ring_for(kinds: Iterable[str]) -> None:
    """Once the transaction is committed, for whoever works on events of these kinds."""
    for task in {NEWS_TASK if kind == ProviderEvent.Kind.TRACKING else WAIT_TASK for kind in kinds}:
        ring_on_commit(task)


def _news(provider: Provider, esp: type[Esp], event: Any) -> ProviderEvent:
    if event.event_type == INBOUND:
        raise NotForUs("This address is for tracking; enter the one for inbound mail for the mails themselves.")
    payload = _plain(event.esp_event)
    recipient = storable(str(event.recipient or ""))
    data = {"url": event.click_url, "user_agent": event.user_agent, **bounce_data(event)}
    metadata = event.metadata if isinstance(event.metadata, dict) else {}
    return new_row(
        ProviderEvent,
        provider_id=provider.pk,
        kind=ProviderEvent.Kind.TRACKING.value,
        key=_digest(_plain(esp.key_of(event))),
        type=str(event.event_type)[:20],
        told_mail_id=storable(str(metadata.get("mailbot_id") or ""))[:100],
        provider_message_id=storable(str(event.message_id or "")),
        final_message_id=storable(esp.final_message_id_in(event)),
        recipient=recipient,
        reason=storable(_reason(event)),
        data={name: storable(str(value)) for name, value in data.items() if value},
        payload=payload,
        occurred_at=event.timestamp,
    )


def _reason(event: Any) -> str:
    told = (event.mta_response, event.description, event.reject_reason)
    return next((str(text) for text in told if text), "")[:2000]


def _confirmation(provider: Provider, url: str) -> ProviderEvent:
    kind = ProviderEvent.Kind.CONFIRMATION
    return ProviderEvent(provider=provider, kind=kind, key=_digest([kind, url]), payload={"url": url})


def _plain(value: Any) -> Any:
    """What an ESP sent as a database keeps it: JSON without NUL, lone surrogates, and numbers that are none."""
    if isinstance(value, dict):  # a form is one too, of Django's
        return {storable(str(name)): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    is_kept = value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_kept else storable(str(value))


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


# --- Mails ---


def take_arrived(provider: Provider, mails: Iterable[Arrived]) -> Taken:
    """Store the mails that are there, and remember those that are still to be fetched. Raises NoRoom, StorageError."""
    mails = list(mails)
    here = [mail for mail in mails if mail.raw is not None]
    away = [mail for mail in mails if mail.raw is None]
    _store_events([_to_fetch(provider, mail) for mail in away])
    return Taken(mails=len(mails), unrouted=_store_mails(provider, here))


def _to_fetch(provider: Provider, mail: Arrived) -> ProviderEvent:
    kind = ProviderEvent.Kind.INBOUND
    return ProviderEvent(
        provider=provider,
        kind=kind,
        key=_digest([kind, mail.key or _plain(mail.reference)]),
        type=INBOUND,
        provider_message_id=storable(mail.key),
        recipient=storable(", ".join(mail.recipients))[:2000],
        payload=_plain(mail.reference),
    )


def _store_mails(provider: Provider, mails: Sequence[Arrived]) -> int:
    """One row for each recipient: whoever has no room now gets his when the ESP calls again, and the others theirs once. How many are
    for nobody."""
    received: list[ReceivedMail] = []
    unrouted: list[ProviderEvent] = []
    is_full = False
    for mail in mails:
        found = _inboxes_of(provider, mail.recipients)
        if not found:
            unrouted.append(_unrouted(provider, mail))
        for address, inbox in found:
            is_full = is_full or inbox.is_full
            if not inbox.is_full:
                recipient = InboundRecipient(address.address, address.tag, inbox.inbox_id, _plain(mail.told.as_json()))
                received.append(_received(provider, mail, recipient))
    _store_events(unrouted)
    if received and Outcome.UNSTORABLE in store_inbound_mail(received):
        raise StorageError("The database does not take one of these mails.")
    if is_full:
        raise NoRoom
    return len(unrouted)


def _inboxes_of(provider: Provider, recipients: Iterable[str]) -> list[tuple[CanonicalAddress, Any]]:
    """Each inbox once. A provider of an account brings mail to no other one's inboxes: who has its secrets must not speak to them."""
    addresses = [address for text in recipients if (address := _canonical(text))]
    found = find_inboxes(addresses)
    reached = {
        found[address.address].inbox_id: (address, found[address.address])
        for address in reversed(addresses)
        if address.address in found and provider.account_id in (None, found[address.address].account_id)
    }
    return list(reached.values())


def _canonical(text: str) -> CanonicalAddress | None:
    try:
        return canonical(parseaddr(text)[1] or text)
    except (AddressError, UnicodeEncodeError):
        return None


def _received(provider: Provider, mail: Arrived, recipient: InboundRecipient) -> ReceivedMail:
    raw = mail.raw or b""
    named = mail.key or hashlib.sha256(raw).hexdigest()
    return ReceivedMail(
        source=provider.esp,
        dedupe_key=_digest([provider.pk, named, recipient.inbox_id]),
        envelope_sender=mail.sender,
        recipients=(recipient,),
        raw=raw,
        fidelity=mail.fidelity,
    )


def _unrouted(provider: Provider, mail: Arrived) -> ProviderEvent:
    """Nobody here is meant; the ESP has taken it already and cannot be told. What stays is that it came."""
    row = _to_fetch(provider, replace(mail, key=mail.key or hashlib.sha256(mail.raw or b"").hexdigest(), reference={}))
    row.state, row.error, row.processed_at = ProviderEvent.State.UNMATCHED, UNROUTED, row.received_at
    return row
