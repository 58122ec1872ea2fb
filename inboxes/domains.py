"""The life of a domain of an account: added, set, deleted; and which one an inbox may be made on."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from inboxes.dns_findings import RecordStatus
from inboxes.dns_records import OWNERSHIP_LABEL, Purpose, Record
from inboxes.domain_keys import NewKey, add_key
from inboxes.models import Account, Domain, DomainStatus, Inbox, Mode
from mailbot.lib.addresses import canonical_domain
from mailbot.lib.scope import acting_for_everybody

LONGEST = 225  # characters: what stands before it in names of its records, and in addresses, has to fit as well
MOST_PENDING = 100  # of an account
SUBDOMAINS_OF_SERVER = "is this server's own, where everybody may have inboxes: leave domain out."


class DomainRefused(ValueError):
    """The name cannot be added here; the message says why."""


class DomainKnown(Exception):
    """The account has it already: `domain`."""

    def __init__(self, domain: Domain) -> None:
        super().__init__(f"{domain.domain} is a domain of this account already.")
        self.domain = domain


class DomainInUse(Exception):
    """Inboxes are on it."""

    def __init__(self, domain: Domain, inboxes: int) -> None:
        super().__init__(f"{inboxes} active inbox{'es are' if inboxes > 1 else ' is'} on {domain.domain}.")


def add_domain(account: Account, name: str, key: NewKey) -> Domain:
    """`key` is its first one (domain_keys.new_key). Nothing is asked of DNS. Raises DomainRefused, DomainKnown, AddressError."""
    domain = canonical_domain(name)
    _check_name(domain)
    if known := Domain.objects.filter(account=account, domain=domain).first():
        raise DomainKnown(known)
    if Domain.objects.filter(account=account, status=DomainStatus.PENDING).count() >= MOST_PENDING:
        raise DomainRefused(
            f"{MOST_PENDING} domains of this account are not verified yet. Verify or delete some of them."
        )
    try:
        with transaction.atomic():
            row = Domain.objects.create(account=account, domain=domain)
            add_key(row, key)
    except IntegrityError:
        raise DomainKnown(Domain.objects.get(account=account, domain=domain)) from None
    return row


def _check_name(domain: str) -> None:
    if "." not in domain:
        raise DomainRefused("This is a single label and no domain of the public DNS.")
    if len(domain) > LONGEST:
        raise DomainRefused(f"This is longer than {LONGEST} characters: names of its records would not fit into DNS.")
    if is_of_server(domain):
        raise DomainRefused(f"“{domain}” {SUBDOMAINS_OF_SERVER}")


def is_of_server(domain: str) -> bool:
    return f".{domain}".endswith(f".{settings.MAILBOT_DOMAIN}")


def change_domain(domain: Domain, changes: Mapping[str, Any]) -> Domain:
    """Set `provider` or `inbox_subdomains`. Inboxes that are there keep their addresses."""
    for name, value in changes.items():
        setattr(domain, name, value)
    domain.save(update_fields=list(changes))
    return domain


def living_on(domain: Domain) -> QuerySet[Inbox]:
    return Inbox.objects.filter(own_domain=domain).exclude(Inbox.ended(timezone.now()))


def is_live(domain: Domain) -> bool:
    """Whether live inboxes are on it: then it is none of a test key's business."""
    return living_on(domain).filter(mode=Mode.LIVE).exists()


@transaction.atomic
def delete_domain(domain: Domain) -> None:
    """Its keys go, too. Raises DomainInUse while inboxes are on it."""
    Domain.objects.select_for_update(no_key=True).get(pk=domain.pk)
    if inboxes := living_on(domain).count():
        raise DomainInUse(domain, inboxes)
    domain.delete()


# --- Inboxes on it ---


class Place(NamedTuple):
    """Where an inbox is made: a domain of the account, or (None) the server's own. `has_subdomain`: its address gets one."""

    domain: str
    own: Domain | None = None
    has_subdomain: bool = False

    def domain_for(self, local_part: str) -> str:
        return f"{local_part}.{self.domain}" if self.has_subdomain else self.domain


class NoPlace(ValueError):
    """No inbox can be made there; the message says what to do."""


def place_for(account: Account, wanted: str, own_subdomain: bool | None) -> Place:
    """`wanted` is a domain, or the subdomain of an inbox. `own_subdomain` None: as the domain is set. Raises NoPlace, AddressError."""
    name = canonical_domain(wanted or settings.MAILBOT_DOMAIN)
    if name == settings.MAILBOT_DOMAIN:
        if own_subdomain:
            raise NoPlace("Subdomains of inboxes are for domains of your own.")
        return Place(name)
    if (own := _of_account(account, name)) is not None:
        _check_usable(own)
        return Place(name, own, own.inbox_subdomains if own_subdomain is None else own_subdomain)
    above = _of_account(account, name.partition(".")[2])
    if above is not None and own_subdomain is not False and above.inbox_subdomains:
        _check_usable(above)
        return Place(above.domain, above, True)
    raise NoPlace(
        f"“{name}” is not a domain of this account. Add it with POST /v1/domains and publish its records,"
        f" or leave it out to use {settings.MAILBOT_DOMAIN}."
    )


def _of_account(account: Account, name: str) -> Domain | None:
    return Domain.objects.filter(account=account, domain=name).first()


def _check_usable(domain: Domain) -> None:
    record = f"{OWNERSHIP_LABEL}.{domain.domain}"
    if domain.status == DomainStatus.PENDING:
        raise NoPlace(
            f"“{domain.domain}” is not verified yet: publish the TXT record at {record}, then"
            f" POST /v1/domains/{domain.pk}/verify."
        )
    if domain.status == DomainStatus.FAILING:
        raise NoPlace(
            f"“{domain.domain}” has lost its proof of ownership: publish the TXT record at {record} again, then"
            f" POST /v1/domains/{domain.pk}/verify."
        )


def is_others(account: Account, name: str) -> bool:
    """Whether a subdomain is somebody else's: another account has proven it, or it is the server's."""
    if is_of_server(name):
        return True
    with acting_for_everybody("who has the subdomain"):
        proven = Domain.objects.filter(domain=name).exclude(status=DomainStatus.PENDING)
        return proven.exclude(account=account).exists()


def hold(domain: Domain) -> Domain:
    """Lock it while an inbox is made, so that it is not deleted meanwhile. Raises NoPlace."""
    held = Domain.objects.select_for_update(no_key=True).filter(pk=domain.pk).first()
    if held is None:
        raise NoPlace(f"“{domain.domain}” was deleted a moment ago.")
    _check_usable(held)
    return held


# --- How it is shown ---


class DnsRecord(TypedDict):
    type: str
    name: str
    value: str
    purpose: str
    status: str
    required: bool
    found: list[str]
    note: str


def shown(domain: Domain, record: Record) -> DnsRecord:
    """The record with what was found of it."""
    known: dict[str, Any] = domain.found.get(record.slot, {})
    return {
        "type": record.type,
        "name": record.name,
        "value": record.value,
        "purpose": record.purpose.value,
        "status": known.get("status", RecordStatus.PENDING.value),
        "required": record.is_required,
        "found": known.get("found", []),
        "note": known.get("note", ""),
    }


def next_step(domain: Domain, records: list[Record]) -> str:
    """In one or two sentences, for whoever asked about it."""
    lacking = [record for record in records if _status(domain, record) != RecordStatus.VERIFIED]
    proof = next((record for record in lacking if record.purpose is Purpose.OWNERSHIP), None)
    if domain.status == DomainStatus.PENDING and proof:
        return _for_proof(domain, proof)
    required = [record for record in lacking if record.is_required]
    if required:
        names = ", ".join(f"{record.type} at {record.name}" for record in required)
        return f"Publish or correct what mail needs: {names}. Then verify again."
    advised = [record for record in lacking if record.key_state != "retired"]
    if advised:
        names = ", ".join(f"{record.type} at {record.name}" for record in advised)
        return f"The domain is ready. Advised, too: {names}."
    return "Nothing: all records are there. Make an inbox with this domain."


def _status(domain: Domain, record: Record) -> str:
    return str(domain.found.get(record.slot, {}).get("status", RecordStatus.PENDING.value))


def _for_proof(domain: Domain, proof: Record) -> str:
    if _status(domain, proof) == RecordStatus.UNKNOWN:
        return f"DNS did not answer for {proof.name}. Verify again in a minute."
    return f"Publish the TXT record at {proof.name} with the value {proof.value}, wait until DNS has it, then verify again."
