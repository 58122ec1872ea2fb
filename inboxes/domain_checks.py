"""Asking DNS about a domain, and what follows: it is proven, a key comes into use, something broke.

Asking and writing are two steps, and no transaction is open during the first. What DNS does not answer changes nothing: what was known
stays, and nothing is ever taken back for a time-out.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet, prefetch_related_objects
from django.utils import timezone

from audit.record import Act, record
from inboxes.carriers import carrier_of
from inboxes.dns_findings import Finding, RecordStatus, finding, questions_of
from inboxes.dns_records import Record, records_of
from inboxes.domain_keys import forget_old_keys, put_into_use
from inboxes.models import Domain, DomainKey, DomainStatus, Inbox, Provider
from inboxes.signals import domain_verified
from mailbot.lib.dns import lookup_all
from mailbot.lib.scope import acting_for_everybody

log = structlog.get_logger(__name__)

PROOF_GRACE = timedelta(days=3)  # for which the ownership record may be gone
EVERY = timedelta(days=1)  # a proven domain is asked about
EVERY_PENDING = timedelta(hours=1)  # one that is being set up
PENDING_FOR = timedelta(days=7)  # then only by hand
AT_ONCE = 20  # domains a sweep
SWEEPS_FOR = 20.0  # seconds

Findings = Mapping[tuple[str, str], Finding]  # by slot and value of a record
BROKEN = (RecordStatus.MISSING, RecordStatus.MISMATCH)


class DomainTaken(Exception):
    """Another account has proven the domain, or still has inboxes on it."""

    def __init__(self, domain: str) -> None:
        super().__init__(f"{domain} is in use by another account of this server.")


# --- Asking ---


def default_provider(account_id: str) -> Provider | None:
    """Who carries mail of an account where neither inbox nor domain names somebody."""
    with acting_for_everybody("shared providers are of no account"):
        defaults = Provider.objects.filter(Q(account=account_id) | Q(account=None), is_default=True)
        return max(defaults, key=lambda row: row.account_id is not None, default=None)


def records_now(domain: Domain, default: Provider | None) -> list[Record]:
    """`default`: of its account (default_provider)."""
    carrier = carrier_of(_named_provider(domain) or default)
    return records_of(domain, domain.keys.all(), carrier_signs=bool(carrier and carrier.signs))


def with_providers(domains: QuerySet[Domain]) -> list[Domain]:
    """The rows, each with the provider that it names, in one query for all: a join by an account would lack those that are shared."""
    rows = list(domains)
    with acting_for_everybody("shared providers are of no account"):
        prefetch_related_objects(rows, "provider")
    return rows


def _named_provider(domain: Domain) -> Provider | None:
    """Read with the domain by an account, one that is shared is lacking."""
    if not domain.provider_id:
        return None
    with acting_for_everybody("shared providers are of no account"):
        return domain.provider or Provider.objects.filter(pk=domain.provider_id).first()


def ask(domain: Domain, within: float | None = None) -> Findings:
    """Ask DNS, all at once, for `within` seconds at most (None: MAILBOT_DNS_TIMEOUT). Not in a transaction."""
    records = records_now(domain, default_provider(domain.account_id))
    answers = lookup_all(questions_of(records), within=within, fresh=True)
    return {(record.slot, record.value): finding(record, answers) for record in records}


# --- Taking in what was found ---


def take_in(domain: Domain, findings: Findings) -> Domain:
    """Write it down, with all that follows. Raises DomainTaken, and Domain.DoesNotExist for one that was deleted meanwhile."""
    try:
        with transaction.atomic():
            return _take_in(domain, findings, timezone.now())
    except IntegrityError as error:  # somebody else proved it at this moment
        raise DomainTaken(domain.domain) from error


def _take_in(domain: Domain, findings: Findings, now: datetime) -> Domain:
    row = Domain.objects.select_for_update(no_key=True, of=("self",)).select_related("provider").get(pk=domain.pk)
    default = default_provider(row.account_id)
    _use_published_key(row, records_now(row, default), findings, now)
    forget_old_keys(row, now)
    records = records_now(row, default)
    row.found = {
        record.slot: entry
        for record in records
        if (entry := _entry(row.found.get(record.slot), findings.get((record.slot, record.value)), now))
    }
    row.checked_at = now
    _judge(row, records, findings, now)
    row.save(update_fields=["found", "checked_at", "status", "verified_at", "proof_lost_at"])
    return row


def _use_published_key(row: Domain, records: Iterable[Record], findings: Findings, now: datetime) -> None:
    for each in records:
        seen = findings.get((each.slot, each.value))
        if each.key_state == DomainKey.State.NEXT and seen and seen.status is RecordStatus.VERIFIED:
            put_into_use(row, row.keys.get(pk=each.key_id), now)


def _entry(old: dict[str, Any] | None, seen: Finding | None, now: datetime) -> dict[str, Any] | None:
    """As it is kept. Where DNS did not answer, that is said beside what was known."""
    if seen is None:
        return old
    if seen.status is RecordStatus.UNKNOWN:
        return (old or {"status": RecordStatus.UNKNOWN.value, "found": [], "verified_at": None}) | {"note": seen.note}
    at = now.isoformat()
    was_good_at = at if seen.status is RecordStatus.VERIFIED else (old or {}).get("verified_at")
    return {
        "status": seen.status.value,
        "found": list(seen.found),
        "note": seen.note,
        "checked_at": at,
        "verified_at": was_good_at,
    }


def _judge(row: Domain, records: list[Record], findings: Findings, now: datetime) -> None:
    proof = records[0]
    seen = findings.get((proof.slot, proof.value))
    if row.status == DomainStatus.PENDING:
        if seen and seen.status is RecordStatus.VERIFIED:
            _prove(row, now)
        return
    if seen and seen.status in BROKEN:
        row.proof_lost_at = row.proof_lost_at or now
    elif seen and seen.status is RecordStatus.VERIFIED:
        row.proof_lost_at = None
    _move(row, broken_records(row, records), now)


def _prove(row: Domain, now: datetime) -> None:
    _take_from_others(row)
    row.status, row.verified_at, row.proof_lost_at = DomainStatus.VERIFIED, now, None
    record(Act.DOMAIN_VERIFIED, row, account_id=row.account_id)
    domain_verified.send(Domain, domain=row)


def _take_from_others(row: Domain) -> None:
    """Who proves it first has it, unless his own proof has been gone for days and nothing of his stands on it. Raises DomainTaken."""
    with acting_for_everybody("who has the domain"):
        others = Domain.objects.select_for_update(no_key=True).filter(domain=row.domain)
        other = others.exclude(pk=row.pk).exclude(status=DomainStatus.PENDING).first()
        on_it = Q(domain=row.domain) | Q(own_domain__domain=row.domain)  # on a subdomain of it, too
        living = Inbox.objects.filter(on_it).exclude(Inbox.ended(timezone.now()))
        if (other and other.status != DomainStatus.FAILING) or living.exclude(account=row.account_id).exists():
            raise DomainTaken(row.domain)
        if other:
            other.status, other.proof_lost_at, other.verified_at = DomainStatus.PENDING, None, None
            other.save(update_fields=["status", "proof_lost_at", "verified_at"])
            record(Act.DOMAIN_LOST, other, account_id=other.account_id)


ACT_AFTER = {
    DomainStatus.VERIFIED: Act.DOMAIN_RECOVERED,
    DomainStatus.DEGRADED: Act.DOMAIN_DEGRADED,
    DomainStatus.FAILING: Act.DOMAIN_FAILING,
}


def _move(row: Domain, broken: list[Record], now: datetime) -> None:
    status = DomainStatus.DEGRADED if broken else DomainStatus.VERIFIED
    if row.proof_lost_at and now - row.proof_lost_at >= PROOF_GRACE:
        status = DomainStatus.FAILING
    if status != row.status:
        changes = {"status": [row.status, status.value], "broken": [f"{each.type} {each.name}" for each in broken]}
        record(ACT_AFTER[status], row, account_id=row.account_id, changes=changes)
        row.status = status


def broken_records(domain: Domain, records: Iterable[Record]) -> list[Record]:
    """Those that were right once and are not now. One that was never published has broken nothing."""
    return [each for each in records if _is_broken(domain.found.get(each.slot), each)]


def _is_broken(entry: dict[str, Any] | None, each: Record) -> bool:
    is_old = each.key_state == DomainKey.State.RETIRED
    return bool(entry and not is_old and entry["verified_at"] and entry["status"] in BROKEN)


# --- By itself ---


def sweep_domains(seconds: float = SWEEPS_FOR) -> int:
    """Ask about those whose time has come; how many. Each is claimed before it is asked about, so that two workers do not both do it."""
    ends_at, asked = monotonic() + seconds, 0
    for domain in _due(timezone.now()):
        if monotonic() > ends_at:
            break
        last = domain.checked_at
        if Domain.objects.filter(pk=domain.pk, checked_at=last).update(checked_at=timezone.now()):
            _check_one(domain)
            asked += 1
    return asked


def _due(now: datetime) -> list[Domain]:
    proven = ~Q(status=DomainStatus.PENDING) & (Q(checked_at__lte=now - EVERY) | Q(checked_at=None))
    young = Q(status=DomainStatus.PENDING, created_at__gt=now - PENDING_FOR)
    pending = young & (Q(checked_at__lte=now - EVERY_PENDING) | Q(checked_at=None, created_at__lte=now - EVERY_PENDING))
    rows = Domain.objects.filter(proven | pending).select_related("provider")
    return list(rows.order_by("checked_at", "pk")[:AT_ONCE])


def _check_one(domain: Domain) -> None:
    """What cannot be done for one is told to the log, and done for the others."""
    try:
        take_in(domain, ask(domain))
    except (DomainTaken, Domain.DoesNotExist):
        return
    except Exception:
        log.exception("domain-check", domain=domain.domain)
