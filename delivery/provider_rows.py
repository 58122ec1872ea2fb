"""Providers as they are managed: made, changed, paused, tried and deleted. Nothing here speaks to an ESP.

A row of an account is that account's own; one without an account is shared by all, and made by superusers only (their callers see to it).
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from auditlog.context import disable_auditlog
from django.db import transaction
from django.utils import timezone

from audit.record import Act, record
from delivery.esps import ESPS
from delivery.esps.base import InvalidCredentials
from delivery.models import OutboundMail
from delivery.outbound.queue import Draft, queue_mail
from delivery.outbound.states import State
from inboxes.models import Account, Inbox, Mode, Provider
from mailbot.lib.crypto import CannotDecrypt
from mailbot.lib.public_hosts import PrivateHost, refuse_private_name
from mailbot.lib.scope import acting_for_everybody
from threads.mime import Address
from threads.models import Message

MOST_FALLBACKS = 5  # how long a chain of them may be
CALLS_NOTED_EVERY = timedelta(minutes=1)
TRIPPED = "tripped: "  # how the reason begins of one that its breaker paused
SETTINGS = ("name", "is_default", "fallback", "concurrency")


class InvalidProvider(ValueError):
    """It cannot be kept so; `fields` says why by field, credentials as `credentials.api_key`."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {why}" for name, why in fields.items()))
        self.fields = fields


class NoInbox(ValueError):
    """There is no living inbox that a test mail could come from."""


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    name: str
    esp: str
    credentials: dict[str, str] = field(repr=False)
    is_default: bool = False
    fallback: Provider | None = None
    concurrency: int = 8


# --- Making and changing ---


@transaction.atomic
def make_provider(account: Account | None, wanted: ProviderRequest) -> Provider:
    """`account` None: shared. A default takes the place of the one before it. Raises InvalidProvider."""
    provider = Provider(account=account, esp=wanted.esp, **{name: getattr(wanted, name) for name in SETTINGS})
    provider.credentials = _checked(provider, wanted.credentials)
    _check_fallback(provider)
    _make_room_for_default(provider)
    provider.save()
    return provider


@transaction.atomic
def change_provider(provider: Provider, changes: Mapping[str, Any]) -> Provider:
    """Set some of SETTINGS, and those `credentials` that are given: the others stay, and an optional one that is given as "" goes unless
    it is secret. The ESP of a row stays what it is. Raises InvalidProvider."""
    given: Mapping[str, str] = changes.get("credentials", {})
    for name in SETTINGS:
        if name in changes:
            setattr(provider, name, changes[name])
    _check_fallback(provider)
    _make_room_for_default(provider)
    changed = _take_credentials(provider, given) if given else []
    provider.save()
    if changed:
        _note(Act.PROVIDER_CHANGED, provider, credentials=changed)
    return provider


def _take_credentials(provider: Provider, given: Mapping[str, str]) -> list[str]:
    """The names of those that are others now."""
    kept = _kept(provider)
    is_secret = {one.name: one.is_secret for one in ESPS[provider.esp].fields}
    new = {name: value for name, value in given.items() if value or not is_secret.get(name, False)}
    checked = _checked(provider, kept | new)
    provider.credentials = checked
    return sorted(name for name in kept | checked if kept.get(name) != checked.get(name))


def _kept(provider: Provider) -> dict[str, str]:
    """What it had; nothing where that cannot be read any more, so that it can be entered anew."""
    try:
        return provider.credentials
    except CannotDecrypt:
        return {}


def _checked(provider: Provider, credentials: Mapping[str, str]) -> dict[str, str]:
    if provider.esp not in ESPS:
        raise InvalidProvider({"esp": f"is one of {', '.join(sorted(ESPS))}"})
    try:
        checked = ESPS[provider.esp].check(credentials)
    except InvalidCredentials as error:
        raise InvalidProvider({f"credentials.{name}": why for name, why in error.fields.items()}) from error
    if provider.account_id:
        _refuse_private_hosts(ESPS[provider.esp].hosts(checked))
    return checked


def _refuse_private_hosts(hosts: Mapping[str, str]) -> None:
    wrong = {}
    for name, host in hosts.items():
        try:
            refuse_private_name(host)
        except PrivateHost as error:
            wrong[f"credentials.{name}"] = str(error)
    if wrong:
        raise InvalidProvider(wrong)


def _check_fallback(provider: Provider) -> None:
    """No row may come back to itself, nor to another account."""
    with acting_for_everybody("shared providers are of no account"):
        _follow_fallbacks(provider)


def _follow_fallbacks(provider: Provider) -> None:
    passed, row = {provider.pk}, provider.fallback
    if row and row.account_id not in (None, provider.account_id):
        raise InvalidProvider({"fallback_id": "is a provider of the same account, or a shared one"})
    while row:
        if row.pk in passed:
            raise InvalidProvider({"fallback_id": "leads back to this provider"})
        if len(passed) > MOST_FALLBACKS:
            raise InvalidProvider({"fallback_id": f"is the end of a chain of more than {MOST_FALLBACKS}"})
        passed.add(row.pk)
        row = row.fallback


def _make_room_for_default(provider: Provider) -> None:
    if provider.is_default:
        others = Provider.objects.select_for_update(no_key=True).filter(account=provider.account_id, is_default=True)
        for other in others.exclude(pk=provider.pk):
            other.is_default = False
            other.save(update_fields=["is_default"])


@transaction.atomic
def delete_provider(provider: Provider) -> None:
    """Its inboxes go on with the default; mail that it was chosen for is chosen for anew, unless it may have that. The trail keeps its
    name."""
    waiting = OutboundMail.objects.filter(carrier=provider, state=State.QUEUED, again_before__isnull=False)
    waiting.update(again_before=timezone.now())
    provider.delete()


# --- Its state ---


def pause_provider(provider: Provider, reason: str) -> bool:
    """Its mail waits from now on. Safe to repeat; whether anything changed."""
    return _set_paused(provider, True, reason, Act.PROVIDER_PAUSED)


def trip_provider(provider: Provider, reason: str) -> bool:
    """The same, by its breaker."""
    return _set_paused(provider, True, f"{TRIPPED}{reason}", Act.PROVIDER_TRIPPED)


def resume_provider(provider: Provider, reason: str) -> bool:
    """Its breaker begins with a clean record."""
    return _set_paused(provider, False, reason, Act.PROVIDER_RESUMED)


@transaction.atomic
def _set_paused(provider: Provider, is_paused: bool, reason: str, act: Act) -> bool:
    columns: dict[str, Any] = {"is_paused": is_paused, "paused_reason": reason if is_paused else ""}
    if not is_paused:
        columns["record_from"] = timezone.now()
    if not Provider.objects.filter(pk=provider.pk, is_paused=not is_paused).update(**columns):
        provider.refresh_from_db()
        return False
    provider.is_paused, provider.paused_reason = is_paused, str(columns["paused_reason"])
    _note(act, provider, reason=reason)
    return True


@transaction.atomic
def rotate_token(provider: Provider, reason: str) -> Provider:
    """New webhook addresses; the old ones answer 404 from now on."""
    provider.token = secrets.token_urlsafe()
    with disable_auditlog():
        provider.save(update_fields=["token"])
    _note(Act.PROVIDER_CHANGED, provider, credentials=["webhook token"], reason=reason)
    return provider


def _note(act: Act, provider: Provider, **changes: Any) -> None:
    record(act, provider, account_id=provider.account_id or "", changes=changes)


# --- Trying it ---


def draft_of_test(provider: Provider, to: str) -> Draft:
    """A mail that leaves through exactly this provider."""
    text = (
        f"This is a test mail from mailbot. It left through “{provider.name}” ({ESPS[provider.esp].label}).\n\n"
        "That you read it means that the credentials are right and that the provider sends for this address.\n"
    )
    return Draft(to=(Address("", to),), subject=f"Test mail through {provider.name}", body_text=text, carrier=provider)


def inbox_for_test(provider: Provider) -> Inbox:
    """The newest active live inbox of its account. Raises NoInbox: a shared provider has none of its own."""
    living = Inbox.objects.filter(account=provider.account_id, mode=Mode.LIVE, status=Inbox.Status.ACTIVE)
    inbox = living.order_by("-pk").first() if provider.account_id else None
    if inbox is None:
        raise NoInbox("There is no active live inbox to send from. Name one, or make one first.")
    return inbox


def queue_test(provider: Provider, inbox: Inbox, to: str) -> Message:
    """Queue a test mail, which shows by its status what became of it. Raises what queue_mail raises."""
    message = queue_mail(inbox, draft_of_test(provider, to))
    note_test(provider, inbox, to)
    return message


def note_test(provider: Provider, inbox: Inbox, to: str) -> None:
    _note(Act.PROVIDER_TESTED, provider, to=to, inbox=inbox.address)


def note_call(provider: Provider, hook: str) -> None:
    """That its ESP called. At most once a minute: the row is locked while a worker looks whether there is room for another mail."""
    column, now = f"{hook}_called_at", timezone.now()
    if (last := getattr(provider, column)) is None or now - last > CALLS_NOTED_EVERY:
        Provider.objects.filter(pk=provider.pk).update(**{column: now})


def webhook_urls(provider: Provider, base: str) -> dict[str, str]:
    """What a customer enters at the ESP, by purpose. Whoever knows one can speak for the ESP where it signs nothing."""
    return {kind: f"{base}/hooks/{provider.pk}/{provider.token}/{kind}" for kind in ("inbound", "tracking")}
