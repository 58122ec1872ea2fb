"""What a domain publishes in DNS, and why.

Sources: RFC 5321 5.1 (MX), RFC 7208 (SPF), RFC 6376 3.6.1 (DKIM keys), RFC 7489 6.3 (DMARC), RFC 4592 (wildcards).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings

from inboxes.models import Domain, DomainKey

OWNERSHIP_LABEL = "_mailbot"
RETURN_PATH_LABEL = "bounces"
PROBE_LABEL = "mailbot-check"  # a name that nobody publishes: a wildcard answers for it
DMARC = "v=DMARC1; p=none"


class Purpose(StrEnum):
    OWNERSHIP = "ownership"
    MX = "mx"
    SPF = "spf"
    DKIM = "dkim"
    DMARC = "dmarc"
    RETURN_PATH = "return_path"


@dataclass(frozen=True, slots=True)
class Record:
    """`name` is whole, without a dot at its end; the `value` of an MX is `10 mx.example.com`. `is_required`: without it mail of the domain
    does not come in, or is not trusted. `key_id`: of the DKIM key that it is for."""

    type: str
    name: str
    value: str
    purpose: Purpose
    is_required: bool
    key_id: str = ""
    key_state: str = ""

    @property
    def slot(self) -> str:
        """What it is known by, however its value changes."""
        return f"{self.purpose} {self.type} {self.name}"

    @property
    def asked(self) -> str:
        """The name to ask DNS for."""
        return self.name.replace("*", PROBE_LABEL, 1)


def records_of(domain: Domain, keys: Iterable[DomainKey], *, carrier_signs: bool = False) -> list[Record]:
    """All records, in the order in which one publishes them. `carrier_signs`: SPF and DKIM of ours are not what receivers go by."""
    keys = list(keys)
    # A domain that signs can wait for its next key.
    needed = (
        DomainKey.State.ACTIVE if any(key.state == DomainKey.State.ACTIVE for key in keys) else DomainKey.State.NEXT
    )
    return [
        Record("TXT", f"{OWNERSHIP_LABEL}.{domain.domain}", ownership_text(domain), Purpose.OWNERSHIP, True),
        Record("MX", domain.domain, _mx(), Purpose.MX, True),
        Record("TXT", domain.domain, spf_text(), Purpose.SPF, not carrier_signs),
        *(_dkim(domain, key, is_required=key.state == needed and not carrier_signs) for key in keys),
        Record("TXT", f"_dmarc.{domain.domain}", DMARC, Purpose.DMARC, False),
        Record("MX", f"{RETURN_PATH_LABEL}.{domain.domain}", _mx(), Purpose.RETURN_PATH, False),
        Record("TXT", f"{RETURN_PATH_LABEL}.{domain.domain}", spf_text(), Purpose.RETURN_PATH, False),
        *(_of_subdomains(domain, carrier_signs) if domain.inbox_subdomains else ()),
    ]


def ownership_text(domain: Domain) -> str:
    return f"mailbot-verification={domain.token}"


def spf_text() -> str:
    return f"v=spf1 {settings.SPF_MECHANISM} ~all"


def dkim_text(key: DomainKey) -> str:
    return f"v=DKIM1; k=rsa; p={key.public}"


def _mx() -> str:
    return f"10 {settings.MX_HOST}"


def _dkim(domain: Domain, key: DomainKey, *, is_required: bool) -> Record:
    name = f"{key.selector}._domainkey.{domain.domain}"
    return Record("TXT", name, dkim_text(key), Purpose.DKIM, is_required, key.pk, key.state)


def _of_subdomains(domain: Domain, carrier_signs: bool) -> Iterator[Record]:
    """For all of them at once. Their mail is signed for the domain itself, which DMARC's relaxed alignment takes for the same."""
    yield Record("MX", f"*.{domain.domain}", _mx(), Purpose.MX, True)
    yield Record("TXT", f"*.{domain.domain}", spf_text(), Purpose.SPF, not carrier_signs)
