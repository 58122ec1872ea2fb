"""Whether a domain or an inbox is fit to send: what was looked at, what is wrong, what mends it, and what blocks its sends by now."""

from collections.abc import Collection
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from delivery.compliance.checks import Check, Standing, score_of
from delivery.compliance.content import ContentClass, content_class
from delivery.compliance.records import check_records
from delivery.esps import ESPS
from delivery.outbound.breaker import verdict, window
from delivery.outbound.choosing import provider_for
from delivery.outbound.outbox import current_state
from delivery.outbound.queue import Blocked, why_not_send
from inboxes.models import Domain, DomainKey, DomainStatus, Inbox, Mode, Provider, SendingRecord
from inboxes.sending_record import Figures, since_reset, summed
from mailbot.lib.clock import database_now
from mailbot.lib.scope import acting_for_everybody

# Backends of Django that hand nothing to anybody.
_GOES_NOWHERE = ("console", "locmem", "dummy", "filebased")


@dataclass(frozen=True, slots=True)
class Readiness:
    """`blocked_reasons`: as the `reason` of a 422 `blocked`, or why mail would wait; empty: a send would go out."""

    domain: str
    checks: tuple[Check, ...]
    content_class: ContentClass
    blocked_reasons: tuple[str, ...]

    @property
    def score(self) -> int:
        return score_of(self.checks)


def check_domain(domain: str, account_id: str, inboxes: Collection[Inbox]) -> Readiness:
    """Of a canonical domain, the account's or any other. `inboxes`: of it, those whose mail may be looked at. Asks DNS, so it is not to be
    called in a transaction."""
    row = _own(domain, account_id)
    checks = check_records(domain, _selectors(row), settings.DNS_TIMEOUT)
    blocked = _why_not_on(domain, row)
    return Readiness(domain, tuple(checks), content_class(inboxes), tuple(blocked))


def check_inbox(inbox: Inbox) -> Readiness:
    """The same of an inbox, with who carries its mail, its sending record and what it sends."""
    row = _own_by_id(inbox.own_domain_id) if inbox.own_domain_id else None
    provider = provider_for(inbox)
    kind = content_class([inbox])
    checks = (
        *_signed(check_records(inbox.domain, _selectors(row), settings.DNS_TIMEOUT), provider, inbox),
        _check_provider(provider, inbox),
        _check_record(inbox),
        _check_content(kind, inbox),
    )
    blocked = [*_why_not_inbox(inbox), *_why_it_waits(provider, inbox)]
    return Readiness(inbox.domain, checks, kind, tuple(dict.fromkeys(blocked)))


# --- The domain ---


def _own(domain: str, account_id: str) -> Domain | None:
    with acting_for_everybody("a key of some inboxes does not see their domains"):
        return Domain.objects.filter(domain=domain, account_id=account_id).first()


def _own_by_id(domain_id: str) -> Domain | None:
    with acting_for_everybody("a key of some inboxes does not see their domains"):
        return Domain.objects.filter(pk=domain_id).first()


def _selectors(domain: Domain | None) -> list[str]:
    """Of the key that signs its mail; before there is one, of the one that is to be published."""
    if domain is None:
        return []
    with acting_for_everybody("a key of some inboxes does not see their domains"):
        keys = {key.state: key.selector for key in DomainKey.objects.filter(domain=domain)}
    return [keys.get(DomainKey.State.ACTIVE) or keys[DomainKey.State.NEXT]] if keys else []


def _why_not_on(domain: str, row: Domain | None) -> list[str]:
    if domain == settings.MAILBOT_DOMAIN:
        return []
    if row is None:
        return ["domain_not_added"]
    return {DomainStatus.PENDING: ["domain_not_verified"], DomainStatus.FAILING: ["domain_failing"]}.get(
        DomainStatus(row.status), []
    )


# --- Who carries it ---


def _signed(checks: list[Check], provider: Provider | None, inbox: Inbox) -> list[Check]:
    """An ESP signs with a key of its own, which only it and the owner of the domain know the name of."""
    if provider is None or not ESPS[provider.esp].signs or inbox.mode == Mode.TEST:
        return checks
    reason = f"{provider.name} signs with a key of its own."
    fix = f"See at {ESPS[provider.esp].label} that {inbox.domain} is verified there."
    return [Check("dkim", Standing.UNKNOWN, reason, fix) if check.name == "dkim" else check for check in checks]


def _check_provider(provider: Provider | None, inbox: Inbox) -> Check:
    if inbox.mode == Mode.TEST:
        return Check(
            "provider", Standing.PASS, "It is a test inbox: the sandbox takes its mail, and nothing leaves this server."
        )
    if provider is None:
        if any(name in settings.EMAIL_BACKEND for name in _GOES_NOWHERE):
            fix = "Add a provider under /v1/providers, or set EMAIL_URL."
            return Check("provider", Standing.FAIL, "Nobody carries its mail on: this server only prints it.", fix)
        return Check("provider", Standing.PASS, "The server's own smart host carries its mail.")
    if provider.is_paused:
        reason = f"{provider.name} is paused: {provider.paused_reason or 'no reason given'}."
        return Check("provider", Standing.FAIL, reason, "Resume it in the console, or name another one for the inbox.")
    if provider.waits_until and database_now() < provider.waits_until:
        return Check(
            "provider", Standing.WARN, f"{provider.name} asked us to wait.", "Nothing: mail goes on by itself."
        )
    return Check("provider", Standing.PASS, f"{provider.name} carries its mail.")


# --- What it did so far ---


def _check_record(inbox: Inbox) -> Check:
    if inbox.status == Inbox.Status.TRIPPED:
        fix = f"Mend the cause, then resume it with POST /v1/inboxes/{inbox.pk}/resume."
        return Check("reputation", Standing.FAIL, f"It is tripped: {inbox.status_reason}.", fix)
    figures = summed(since_reset(SendingRecord.objects.filter(inbox=inbox), timezone.now() - window()))
    if figures.sent < settings.BREAKER_SENDS:
        return Check("reputation", Standing.UNKNOWN, f"It sent to {figures.sent} recipients lately: too few to tell.")
    told = f"Of {figures.sent} recipients {figures.bounced} bounced and {figures.complained} complained."
    if verdict(_doubled(figures), settings.BREAKER_SENDS):
        fix = "Send to addresses that asked for it, and look at the bounces: at twice these rates it is stopped."
        return Check("reputation", Standing.WARN, told, fix)
    return Check("reputation", Standing.PASS, told)


def _doubled(figures: Figures) -> Figures:
    return figures._replace(bounced=figures.bounced * 2, complained=figures.complained * 2)


def _check_content(kind: ContentClass, inbox: Inbox) -> Check:
    if kind is ContentClass.BULK and not inbox.list_unsubscribe:
        reason = "It sends one mail to many, without a way to unsubscribe; Gmail and Yahoo ask for one (RFC 8058)."
        return Check("content", Standing.WARN, reason, "Set list_unsubscribe of the inbox to true.")
    said = {
        ContentClass.NONE: "It sent nothing lately.",
        ContentClass.CONVERSATION: "It mostly answers.",
        ContentClass.TRANSACTIONAL: "It writes single mails.",
        ContentClass.BULK: "It sends one mail to many, who can unsubscribe.",
    }
    return Check("content", Standing.PASS, said[kind])


# --- What blocks it ---


def _why_not_inbox(inbox: Inbox) -> list[str]:
    try:
        why_not_send(inbox)
    except Blocked as blocked:
        return [blocked.reason]
    today = timezone.now().date()
    is_used_up = inbox.daily_send_limit is not None and inbox.sends_on(today) >= inbox.daily_send_limit
    return ["daily_send_limit"] if is_used_up else []


def _why_it_waits(provider: Provider | None, inbox: Inbox) -> list[str]:
    paused = ["provider_paused"] if provider and provider.is_paused and inbox.mode == Mode.LIVE else []
    outbox = current_state()
    return paused + (["outbox_paused"] if outbox and outbox.is_paused else [])
