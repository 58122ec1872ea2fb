"""SPF (RFC 7208) by pyspf, which asks DNS through us."""

import re
from dataclasses import dataclass
from typing import Any

import spf

from delivery.inbound.authentication.answers import Answers, public_peer
from mailbot.lib.dns import NotFound, Temporary

MAX_LABEL = 63
_BRACED = re.compile(r"%\{[^}]*\}?")
_MACRO = re.compile(r"%\{[slodiphcrtv][0-9]*r?[.\-+,/_=]*\}", re.IGNORECASE)
LONGEST_REASON = 300  # characters; some of it is text of the domain that is asked


@dataclass(frozen=True, slots=True)
class SpfVerdict:
    """`was_checked` False: nothing could be found out, which speaks against nobody."""

    result: str
    reason: str = ""
    domain: str = ""
    identity: str = ""  # mailfrom or helo
    was_checked: bool = True

    def explained(self) -> dict[str, Any]:
        told = {"result": self.result, "domain": self.domain, "identity": self.identity, "reason": self.reason}
        return {name: value for name, value in told.items() if value}


def check_spf(peer: str, mail_from: str, helo: str, answers: Answers, receiver: str = "unknown") -> SpfVerdict:
    """MAIL FROM, and HELO for the null sender (RFC 7208 2.4). Never raises."""
    client = public_peer(peer)
    if not client:
        why = "It came from a network of our own." if peer else "It is not known which server brought it."
        return SpfVerdict("none", why, was_checked=False)
    return evaluate(client, mail_from, helo, answers, receiver)


def evaluate(client: str, mail_from: str, helo: str, answers: Answers, receiver: str = "unknown") -> SpfVerdict:
    """check_host() of RFC 7208 4, for whatever client."""
    local_part, _, domain = mail_from.rpartition("@") if mail_from else ("postmaster", "", helo)
    domain = domain.removesuffix(".").lower()
    identity = "mailfrom" if mail_from else "helo"
    try:
        result, reason = _ask(client, local_part or "postmaster", domain, helo, answers, receiver)
    except Exception as error:  # a record that pyspf chokes on is a broken one
        result, reason = "permerror", f"{type(error).__name__}: {error}"
    return SpfVerdict(result, _shown(reason), domain, identity)


def _ask(client: str, local_part: str, domain: str, helo: str, answers: Answers, receiver: str) -> tuple[str, str]:
    if not _is_domain(domain):
        return "none", "The sender names no domain."
    query = Query(client, f"{local_part}@{domain}", helo, answers, receiver)
    # pyspf cuts at the first @, of which a quoted local part may hold more.
    query.l, query.o, query.d = local_part, domain, domain
    result, _, reason = query.check()
    return result, reason


def _is_domain(domain: str) -> bool:
    """RFC 7208 4.3: of several labels, none of them empty or too long."""
    labels = domain.split(".")
    return len(labels) > 1 and all(0 < len(label) <= MAX_LABEL for label in labels)


def _shown(reason: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in reason)[:LONGEST_REASON]


class Query(spf.query):  # type: ignore[misc]
    """pyspf's check of one mail, with our DNS below it."""

    def __init__(self, client: str, sender: str, helo: str, answers: Answers, receiver: str) -> None:
        super().__init__(i=client, s=sender, h=helo, receiver=receiver, strict=True)
        self._answers = answers

    def dns(self, name: str, qtype: str, cnames: Any = None, ignore_void: bool = False) -> list[Any]:
        """In pyspf's form. Aliases are followed below; no answer is a void look-up (RFC 7208 4.6.4)."""
        name = str(name).removesuffix(".").lower()
        if not all(0 < len(label) <= MAX_LABEL for label in name.split(".")):
            return []
        key = (name, qtype)
        if key not in self.cache:
            self.cache[key] = self._records(name, qtype)
            if not self.cache[key] and not ignore_void:
                self._count_void()
        return list(self.cache[key])

    def _records(self, name: str, qtype: str) -> list[Any]:
        try:
            return [_as_pyspf(record, qtype) for record in self._answers.ask(name, qtype)]
        except NotFound:
            return []
        except Temporary as error:
            if qtype == "PTR":  # RFC 7208 5.5: then no name of the client is known
                return []
            raise spf.TempError(str(error)) from error

    def expand(self, s: str, stripdot: bool = True) -> str:
        """RFC 7208 7.1, of which pyspf lets more pass than there is: a letter, digits, `r`, delimiters."""
        for macro in _BRACED.findall(s.replace("%%", "")):
            if not _MACRO.fullmatch(macro):
                raise spf.PermError("Invalid macro", macro[:50])
        return str(super().expand(s, stripdot))

    def _count_void(self) -> None:
        self.void_lookups += 1
        if self.void_lookups > spf.MAX_VOID_LOOKUPS:
            raise spf.PermError(f"Void lookup limit of {spf.MAX_VOID_LOOKUPS} exceeded")

    def validated_ptrs(self) -> list[str]:
        """RFC 7208 5.5: of the first ten names those that lead back. One whose servers are silent ends it: they are the client's own, and
        he must not take the time that his mail has."""
        found = []
        for name in self.dns_ptr(self.i)[: spf.MAX_PTR]:
            try:
                if self.cidrmatch(self.dns_a(name, self.A), self.cidrmax):
                    found.append(name)
            except spf.TempError:
                break
        return found


def _as_pyspf(record: str, qtype: str) -> Any:
    if qtype == "TXT":
        return (record.encode(),)
    if qtype == "MX":
        preference, _, host = record.partition(" ")
        return int(preference), host
    return record
