"""Whom an erasure is about: how an address is found in whatever names it, and the pseudonym that stands there afterwards.

The pseudonym is an HMAC of account and address, so that who has no key cannot try out addresses, one person's entries can still be told
from another's, and two accounts cannot compare theirs.
"""

import base64
import hmac
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.conf import settings

from delivery.suppression_model import person_key
from mailbot.lib.addresses import AddressError, canonical, unicode_domain

PREFIX = "person_"
# Between local part and domain: as it is, in a URL, in HTML, and in the return addresses of mailing lists (VERP).
_AT = r"(?:@|%40|&#0*64;|&#x40;|=)"


def exact(address: str) -> str:
    """The form in which addresses are compared here: canonical, and with its tag, which may be another person's. What cannot be read,
    lower-cased."""
    try:
        known = canonical(address)
    except AddressError:
        return address.strip().lower()
    return f"{known.local_part}+{known.tag}@{known.domain}" if known.tag else known.address


def pseudonym_of(account_id: str, address: str) -> str:
    """By the newest key: docs/erasure.md says what becomes of it when keys change."""
    told = "\0".join(("person", account_id, exact(address))).encode("utf-8", "surrogatepass")
    digest = hmac.digest(person_key(settings.ENCRYPTION_KEYS[0]), told, "sha256")
    return PREFIX + base64.b32encode(digest[:16]).decode().rstrip("=").lower()


@dataclass(frozen=True)
class Person:
    """`address` in its exact form."""

    account_id: str
    address: str
    pseudonym: str

    @classmethod
    def at(cls, account_id: str, address: str) -> "Person":
        """Raises AddressError."""
        canonical(address)
        return cls(account_id, exact(address), pseudonym_of(account_id, address))

    @property
    def hint(self) -> str:
        """What each text that names the person holds in whatever case, for a database to look for; "" where it cannot."""
        local_part = self.address.rpartition("@")[0]
        return local_part if local_part.isascii() else ""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        local_part, _, domain = self.address.rpartition("@")
        domains = "|".join(re.escape(form) for form in {domain, unicode_domain(domain)})
        # A letter, dot or hyphen before it makes it another address; the code of a character in a URL does not.
        before = r"(?:(?<![\w.+\-])|(?<=%[0-9a-f][0-9a-f]))"
        name = re.escape(local_part).replace(r"\+", r"(?:\+|%2b)")
        return re.compile(rf"{before}{name}{_AT}(?:{domains})(?![\w\-]|\.\w)", re.IGNORECASE)

    def is_at(self, address: str) -> bool:
        return exact(address) == self.address

    def is_named_in(self, value: Any) -> bool:
        """In a text, or anywhere in a list or an object."""
        if isinstance(value, str):
            return self._pattern.search(value) is not None
        if isinstance(value, dict):
            return any(self.is_named_in(name) or self.is_named_in(item) for name, item in value.items())
        if isinstance(value, (list, tuple)):
            return any(map(self.is_named_in, value))
        return False

    def without(self, value: Any) -> Any:
        """The same with the pseudonym in place of the address."""
        if isinstance(value, str):
            return self._pattern.sub(self.pseudonym, value)
        if isinstance(value, dict):
            return {self.without(name): self.without(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.without(item) for item in value]
        return value
