"""The one place that decides what an e-mail address means here: at RCPT, in the API and at the webhooks alike.

The canonical form is what is stored and compared:
- the local part in Unicode NFC and lower case; dots are kept (`a.b` and `ab` are two inboxes);
- a `+tag` is cut off and returned beside it (`support+eu@…` reaches `support@…`);
- the domain in lower-case A-labels (`bücher.example` is `xn--bcher-kva.example`).

Source: RFC 5321 4.1.2 and 4.5.3.1 (lengths), RFC 6531 (SMTPUTF8), RFC 5891 with UTS 46 (IDN), RFC 5233 (subaddress).
"""

import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from email.utils import getaddresses
from functools import lru_cache

import idna

MAX_LOCAL_PART = 64
MAX_ADDRESS = 254
_ATEXT = r"[a-z0-9!#$%&'*/=?^_`{|}~\-\u0080-\U0010ffff]"
_LOCAL_PART = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_TAG = re.compile(rf"(?:{_ATEXT}|[.+])*")
# Composing makes text shorter, but never by more: what is longer than this need not be composed, which takes quadratic time.
_SHRINKS_BY = 4
_LDH_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class AddressError(ValueError):
    """The address cannot be used; the message says why, in words that a caller of the API can act on."""


@dataclass(frozen=True, slots=True)
class CanonicalAddress:
    local_part: str
    domain: str
    tag: str = ""

    @property
    def address(self) -> str:
        """Without the tag: what an inbox is found by."""
        return f"{self.local_part}@{self.domain}"

    @property
    def unicode_address(self) -> str:
        """For people to read: the domain in U-labels."""
        return f"{self.local_part}@{unicode_domain(self.domain)}"


def canonical(address: str) -> CanonicalAddress:
    """Parse a bare address (`Support+eu@Example.com`, angle brackets allowed). Raises AddressError."""
    bare = address.strip().removeprefix("<").removesuffix(">")
    local_part, at, domain = bare.rpartition("@")
    if not at or not local_part or not domain:
        raise AddressError(f"“{_shown(address)}” is not an address: it needs a local part, an @ and a domain.")
    name, tag = canonical_local_part(local_part)
    result = CanonicalAddress(name, canonical_domain(domain), tag)
    if len(result.address.encode()) > MAX_ADDRESS:
        raise AddressError(f"The address is longer than {MAX_ADDRESS} octets.")
    return result


def canonical_local_part(local_part: str) -> tuple[str, str]:
    """(name, tag) of a local part. Raises AddressError."""
    folded = unicodedata.normalize("NFC", local_part[: _SHRINKS_BY * MAX_LOCAL_PART + 1]).lower()
    name, _, tag = folded.partition("+")
    if len(folded.encode("utf-8", "surrogatepass")) > MAX_LOCAL_PART:
        raise AddressError(f"The local part is longer than {MAX_LOCAL_PART} octets.")
    if not name:
        raise AddressError("The local part is empty.")
    if not _LOCAL_PART.fullmatch(name) or not _TAG.fullmatch(tag) or not _printable(folded):
        raise AddressError(
            f"The local part “{_shown(local_part)}” has characters that cannot be used: letters, digits and"
            " . _ - ! # $ % & ' * / = ? ^ ` { | } ~ can, a dot not at the start, at the end or twice in a row."
        )
    return name, tag


@lru_cache(maxsize=4096)
def canonical_domain(domain: str) -> str:
    """A domain in lower-case A-labels, without a dot at the end. Raises AddressError."""
    if len(domain) > _SHRINKS_BY * MAX_ADDRESS:  # nor may the cache hold on to it
        raise AddressError(f"The domain “{_shown(domain)}” is too long.")
    folded = domain.strip().removesuffix(".").lower()
    try:
        encoded = folded if folded.isascii() else idna.encode(folded, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise AddressError(f"The domain “{_shown(domain)}” is not valid: {error}.") from error
    if len(encoded) > MAX_ADDRESS or not _LDH_DOMAIN.fullmatch(encoded):
        raise AddressError(f"The domain “{_shown(domain)}” is not valid.")
    return encoded


@lru_cache(maxsize=4096)
def unicode_domain(domain: str) -> str:
    """A canonical domain as people write it; one that cannot be decoded stays as it is."""
    try:
        return idna.decode(domain) if "xn--" in domain else domain
    except (idna.IDNAError, UnicodeError):
        return domain


def comparable(address: str) -> str:
    """The form in which two correspondents are compared: canonical, tag kept out; what cannot be read, lower-cased."""
    try:
        return canonical(address).address
    except AddressError:
        return address.strip().lower()


def _printable(text: str) -> bool:
    if text.isascii():
        return text.isprintable() and " " not in text
    return all(unicodedata.category(character)[0] not in "CZ" for character in text)


def _shown(text: str) -> str:
    return text[:80].encode("unicode_escape").decode("ascii") if not text.isprintable() else text[:80]


def addresses_in(text: str) -> set[str]:
    """In canonical form, those that a header names; what is no address is left out."""
    found = set()
    for _, address in getaddresses([text]):
        with suppress(AddressError, UnicodeEncodeError):
            found.add(canonical(address).address)
    return found
