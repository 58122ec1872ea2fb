"""The DKIM signatures of a mail (RFC 6376, 8301, 8463), each by itself, by dkimpy."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dkim
from dkim.util import InvalidTagValueList, parse_tag_value

from delivery.inbound.authentication.answers import Answers
from delivery.inbound.authentication.signed_mail import SignedMail
from mailbot.lib.dns import Temporary
from mailbot.lib.registered_domains import is_aligned

MAX_SIGNATURES = 10  # verified; RFC 6376 6.1 leaves the number to us
MAX_READ = 100  # of these the ones of From's domain come first
LONGEST_REASON = 300
# What a reader sees of a header, and where a field is that a signature leaves out, anybody can write another one.
SHOWN = (b"from", b"to", b"cc", b"subject", b"date", b"reply-to", b"message-id", b"content-type")
MUST_BE_SIGNED = (b"subject", b"to", b"date")  # where the mail has them, or a replay may say something else


@dataclass(frozen=True, slots=True)
class Signature:
    """One of them. `result`: RFC 8601 2.7.1. `unsigned`: what a reader sees and it does not cover."""

    domain: str
    selector: str
    result: str
    reason: str = ""
    is_aligned: bool = False
    unsigned: tuple[str, ...] = ()
    signed_at: int | None = None  # t=, seconds since 1970
    has_expired: bool = False

    def explained(self) -> dict[str, Any]:
        told = {
            "domain": self.domain,
            "selector": self.selector,
            "result": self.result,
            "reason": self.reason,
            "aligned": self.is_aligned,
            "unsigned": list(self.unsigned),
        }
        return {name: value for name, value in told.items() if value != "" and value != []}


def check_dkim(raw: bytes, from_domain: str, answers: Answers, others: Answers | None = None) -> list[Signature]:
    """Those of From's domain first; `others`: by which the keys of other domains are asked for. Never raises."""
    if b"dkim-signature" not in raw[: 512 * 1024].lower():
        return []
    try:
        mail = SignedMail(raw, answers)
    except Exception as error:  # a header that dkimpy cannot read, or does not get to
        return [Signature("", "", "permerror", _shown(error))]
    order = _order(mail, from_domain)
    checked = [_check(mail, number, from_domain, answers, others or answers) for number in order[:MAX_SIGNATURES]]
    if len(order) > MAX_SIGNATURES:
        checked.append(Signature("", "", "none", f"Only {MAX_SIGNATURES} signatures of {len(order)} are verified."))
    return checked


def verdict_of(signatures: Sequence[Signature]) -> str:
    """One word for all: pass if one is right, otherwise what is most to be said of them."""
    results = {signature.result for signature in signatures}
    return next((word for word in ("pass", "temperror", "policy", "fail", "permerror") if word in results), "none")


def _order(mail: SignedMail, from_domain: str) -> list[int]:
    fields = [value for name, value in mail.headers if name.lower() == b"dkim-signature"]
    read = [_domain_in(value) for value in fields[:MAX_READ]]
    return sorted(range(len(read)), key=lambda number: not is_aligned(read[number], from_domain))


_DOMAIN = re.compile(rb"(?:^|;)\s{0,50}d\s{0,50}=\s{0,50}([A-Za-z0-9._-]{1,255})")


def _domain_in(value: bytes) -> str:
    found = _DOMAIN.search(value)
    return found[1].decode("ascii").lower() if found else ""


def _check(mail: SignedMail, number: int, from_domain: str, own: Answers, others: Answers) -> Signature:
    fields = [value for name, value in mail.headers if name.lower() == b"dkim-signature"]
    tags = _tags(fields[number])
    domain = _text(tags.get(b"d", b"")).lower()
    mail.answers = own if is_aligned(domain, from_domain) else others
    result, reason = _result(mail, number, tags)
    return Signature(
        domain,
        _text(tags.get(b"s", b"")),
        result,
        reason,
        is_aligned(domain, from_domain),
        tuple(_unsigned(mail, tags)) if result in ("pass", "policy") else (),
        _signed_at(tags),
        _has_expired(tags),
    )


def _result(mail: SignedMail, number: int, tags: dict[bytes, bytes]) -> tuple[str, str]:
    """One of RFC 8601 2.7.1, and why."""
    try:
        if mail.answers.is_late:
            raise Temporary("The time for this mail is over.")
        if not mail.verify(number):
            return "fail", "The signature does not match."
        why = _why_not_enough(mail, tags)
    except Temporary as error:
        return "temperror", _shown(error)
    except dkim.ValidationError as error:
        return "fail" if "body hash" in str(error) else "permerror", _shown(error)
    except Exception as error:  # dkimpy raises much beside its own for what is no signature
        return "permerror", _shown(error)
    return ("policy", why) if why else ("pass", "")


def _why_not_enough(mail: SignedMail, tags: dict[bytes, bytes]) -> str:
    """A signature may be right and cover less than a reader sees, or prove nothing."""
    if tags.get(b"a", b"").startswith(b"rsa-sha1"):
        return "rsa-sha1 proves nothing any more (RFC 8301)."
    if b"l" in tags and int(tags[b"l"]) < len(mail.canonical_body(tags)):
        return "It covers the beginning of the body only (l=)."
    if added := _added(mail, tags):
        return f"A second {', '.join(added)} field stands beside the one that is signed."
    return ""


def _added(mail: SignedMail, tags: dict[bytes, bytes]) -> list[str]:
    """Fields of which there are more than are signed: the topmost ones, which a reader sees, are not (RFC 6376 8.15)."""
    there = Counter(name.lower() for name, _ in mail.headers)
    signed = Counter(_signed(tags))
    return [_text(name).title() for name in SHOWN if 0 < signed[name] < there[name]]


def _unsigned(mail: SignedMail, tags: dict[bytes, bytes]) -> list[str]:
    there = {name.lower() for name, _ in mail.headers}
    return [_text(name).title() for name in MUST_BE_SIGNED if name in there and name not in _signed(tags)]


def _signed(tags: dict[bytes, bytes]) -> list[bytes]:
    return [name.strip().lower() for name in tags.get(b"h", b"").split(b":")]


def _tags(value: bytes) -> dict[bytes, bytes]:
    try:
        return dict(parse_tag_value(value))
    except InvalidTagValueList:
        return {}


def _signed_at(tags: dict[bytes, bytes]) -> int | None:
    signed_at = tags.get(b"t", b"")
    return int(signed_at) if signed_at.isdigit() and len(signed_at) < 13 else None


def _has_expired(tags: dict[bytes, bytes]) -> bool:
    until = tags.get(b"x", b"")
    return until.isdigit() and len(until) < 13 and int(until) < time.time()


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")[:255]


def _shown(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return "".join(c if c.isprintable() else "�" for c in text)[:LONGEST_REASON]
