"""What an ESP found out about the sender of a mail that it took in for us, in the words of RFC 8601 2.7.

Only what the ESP itself wrote counts: fields of its call, or a header that it always puts above what the sender wrote.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import authres

SPF = frozenset("none neutral pass fail softfail temperror permerror".split())
DKIM = frozenset("none pass fail policy neutral temperror permerror".split())
DMARC = frozenset("none pass fail temperror permerror".split())
POLICIES = frozenset("none quarantine reject".split())


@dataclass(frozen=True, slots=True)
class Told:
    """Empty: it does not say. `spf_domain`: for which domain SPF was asked; `dkim_domains`: those of signatures that are right."""

    spf: str = ""
    spf_domain: str = ""
    dkim: str = ""
    dkim_domains: tuple[str, ...] = ()
    dmarc: str = ""
    policy: str = ""

    def as_json(self) -> dict[str, Any]:
        return {name: list(value) if name == "dkim_domains" else value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, told: Mapping[str, Any] | None) -> "Told":
        known = {name: value for name, value in (told or {}).items() if name in cls.__slots__}
        return cls(**{**known, "dkim_domains": tuple(known.get("dkim_domains", ()))})


NOTHING = Told()


def word(value: Any, known: Iterable[str]) -> str:
    """A result in whatever case, or nothing where it is none that is known."""
    text = str(value or "").strip().lower()
    return text if text in known else ""


def domain_of(address: Any) -> str:
    return str(address or "").strip().strip("<>").rpartition("@")[2].lower()[:255]


_ENVELOPE = re.compile(r"envelope-from=\"?<?([^\s;\">]{1,320})")


def from_received_spf(value: str) -> Told:
    """A Received-SPF field (RFC 7208 9.1)."""
    result, _, rest = value.strip().partition(" ")
    found = _ENVELOPE.search(rest[:2000])
    return Told(spf=word(result, SPF), spf_domain=domain_of(found[1]) if found else "")


def from_authentication_results(headers: Iterable[tuple[str, str]], authserv_id: str) -> Told:
    """The topmost Authentication-Results field of this server (RFC 8601), which always writes one. What stands below is a sender's."""
    for name, value in headers:
        if name.lower() == "authentication-results" and value.strip().lower().startswith(authserv_id):
            return _read(value[:8000])
    return NOTHING


def _read(value: str) -> Told:
    try:
        results = authres.AuthenticationResultsHeader.parse(f"Authentication-Results: {value}").results
    except Exception:  # authres raises more than it says
        return _read_roughly(value)
    return _of({one.method.lower(): str(one.result) for one in reversed(results)})


_RESULT = re.compile(r"(?:^|;)\s*(spf|dkim|dmarc)\s*=\s*([a-z]+)", re.IGNORECASE)


def _read_roughly(value: str) -> Told:
    """Amazon writes fields behind a result that the grammar does not have."""
    return _of({method.lower(): result for method, result in reversed(_RESULT.findall(value))})


def _of(results: Mapping[str, str]) -> Told:
    return Told(
        spf=word(results.get("spf"), SPF), dkim=word(results.get("dkim"), DKIM), dmarc=word(results.get("dmarc"), DMARC)
    )
