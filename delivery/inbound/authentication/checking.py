"""One mail: which way it came decides what can be found out about its sender.

By SMTP we saw the server that brought it, and check all of it. An ESP saw that server in our place, and its verdict is taken where it gives
one; signatures are checked here where it gives none and the bytes are those that were signed. What this server wrote itself needs no proof.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from delivery.esps.told import Told
from delivery.fidelity import Fidelity
from delivery.inbound.authentication.answers import Answers, public_peer
from delivery.inbound.authentication.arc_check import ArcVerdict, check_arc
from delivery.inbound.authentication.dkim_check import Signature, check_dkim, verdict_of
from delivery.inbound.authentication.dmarc_check import DmarcVerdict, Policy, check_dmarc, find_policy
from delivery.inbound.authentication.spf_check import SpfVerdict, check_spf
from delivery.models import InboundMail
from mailbot.lib.addresses import AddressError, canonical_domain
from mailbot.lib.registered_domains import is_aligned
from threads.authenticity import Authenticity, Standing
from threads.mime import ParsedMail

SMTP, SANDBOX = "smtp", "sandbox"
OLD = 7 * 24 * 3600  # seconds since it was signed; no mail server tries for longer than five days (RFC 5321 4.5.4.1)
_SIGNED = re.compile(rb"^dkim-signature[ \t]*:", re.IGNORECASE | re.MULTILINE)
_LOOKED_THROUGH = 512 * 1024  # octets for a signature, which is beyond what is verified

INTERNAL = Authenticity(
    Standing.VERIFIED,
    is_internal=True,
    details={"method": "internal", "reason": "An inbox of this server wrote it, and it did not leave the server."},
)


@dataclass(frozen=True, slots=True)
class Author:
    """Whom From names. `domain`: in A-labels, empty where it has none. `is_ambiguous`: it names several, and a reader sees one."""

    domain: str
    is_ambiguous: bool


def author_of(parsed: ParsedMail) -> Author:
    fields = sum(name.lower() == "from" for name, _ in parsed.headers)
    domains = {_domain(author.address) for author in parsed.authors}
    return Author(_domain(parsed.sender.address), fields > 1 or len(domains) > 1)


def _domain(address: str) -> str:
    """Empty also for an address literal and for a name of one label, which cannot publish anything."""
    try:
        domain = canonical_domain(address.rpartition("@")[2])
    except AddressError:
        return ""
    return domain if "." in domain else ""


def needs_dns(mail: InboundMail) -> bool:
    if mail.source == SANDBOX:
        return False
    if mail.source == SMTP:
        return bool(public_peer(mail.remote_addr)) or _is_signed(mail)
    told = told_of(mail)
    return not told.dmarc and bool(told.spf or told.dkim or (mail.fidelity == Fidelity.EXACT and _is_signed(mail)))


def _is_signed(mail: InboundMail) -> bool:
    return bool(_SIGNED.search(mail.raw, 0, _LOOKED_THROUGH))


def told_of(mail: InboundMail) -> Told:
    return Told.from_json(next((one["told"] for one in mail.recipients if one.get("told")), None))


def check_without_dns(mail: InboundMail, parsed: ParsedMail) -> Authenticity:
    """For those that `needs_dns` says no of."""
    return INTERNAL if mail.source == SANDBOX else _without_dns(mail, author_of(parsed))


def check(mail: InboundMail, parsed: ParsedMail, ends_at: float) -> Authenticity:
    """`ends_at` (time.monotonic): what DNS has not said by then is `temperror`."""
    author = author_of(parsed)
    answers = Answers(ends_at)
    told = told_of(mail)
    # The policy first: what is asked for the sake of others may use up the time.
    policy = find_policy(author.domain, answers) if author.domain else Policy()
    if mail.source == SMTP:
        return _by_smtp(mail, author, policy, answers)
    signatures = _signatures(mail, told, author, answers)
    spf = _told_spf(told)
    return _found(
        "provider" if told.spf or told.dkim else "signatures", mail, author, policy, spf, signatures, ArcVerdict("none")
    )


def _by_smtp(mail: InboundMail, author: Author, policy: Policy, answers: Answers) -> Authenticity:
    raw, others = bytes(mail.raw), answers.aside()
    spf_domain = mail.envelope_sender.rpartition("@")[2] or mail.helo
    decides = is_aligned(spf_domain, author.domain)
    spf = check_spf(
        mail.remote_addr, mail.envelope_sender, mail.helo, answers if decides else others, settings.MAILBOT_DOMAIN
    )
    signatures = check_dkim(raw, author.domain, answers, others)
    return _found("checked", mail, author, policy, spf, signatures, check_arc(raw, answers))


def _without_dns(mail: InboundMail, author: Author) -> Authenticity:
    told = told_of(mail)
    if told.dmarc:
        return _as_told(told, author)
    why = "It is not signed, and it came from a network of our own or by a way that does not say from where."
    if mail.source != SMTP and mail.fidelity != Fidelity.EXACT:
        why = "The provider gives no verdict, and not the bytes that a signature would be of."
    flags = ("from_ambiguous",) if author.is_ambiguous else ()
    dmarc = "permerror" if author.is_ambiguous else "none"
    return Authenticity(dmarc=dmarc, flags=flags, details={"method": "none", "reason": why})


# --- What an ESP told ---


def _as_told(told: Told, author: Author) -> Authenticity:
    """The ESP looked at all of it, the policy too."""
    policy = told.policy or "none"
    if told.dmarc == "pass" and not author.is_ambiguous:
        standing = Standing.VERIFIED
    elif told.dmarc == "fail":
        standing = Standing.DISPUTED if policy == "none" else Standing.FORGED
    else:
        standing = Standing.UNKNOWN if told.dmarc == "temperror" else Standing.UNVERIFIED
    details = {"method": "provider", "told": told.as_json()}
    flags = _standing_flags(standing, author)
    return Authenticity(standing, told.spf or "none", told.dkim or "none", told.dmarc, flags=flags, details=details)


def _told_spf(told: Told) -> SpfVerdict:
    if not told.spf:
        why = "The provider does not say, and which server brought it to the provider is not known here."
        return SpfVerdict("none", why, was_checked=False)
    return SpfVerdict(
        told.spf, "As the provider found it.", told.spf_domain, "mailfrom", was_checked=bool(told.spf_domain)
    )


def _signatures(mail: InboundMail, told: Told, author: Author, answers: Answers) -> list[Signature]:
    """The provider's word where it says whose signatures are right, or where nobody else can tell."""
    found = "As the provider found it."
    if told.dkim_domains:
        return [Signature(one, "", "pass", found, is_aligned(one, author.domain)) for one in told.dkim_domains]
    if mail.fidelity == Fidelity.EXACT and _is_signed(mail):
        return check_dkim(bytes(mail.raw), author.domain, answers)
    return [Signature("", "", told.dkim, f"{found} It does not say of which domain.")] if told.dkim else []


# --- What it comes to ---


def _found(
    method: str,
    mail: InboundMail,
    author: Author,
    policy: Policy,
    spf: SpfVerdict,
    signatures: Sequence[Signature],
    arc: ArcVerdict,
) -> Authenticity:
    dmarc = _dmarc(author, policy, spf, signatures)
    standing = _standing(dmarc)
    details: dict[str, Any] = {
        "method": method,
        "details": {
            "spf": spf.explained(),
            "dkim": [signature.explained() for signature in signatures],
            "dmarc": dmarc.explained(),
            "arc": arc.explained(),
        },
    }
    return Authenticity(
        standing,
        spf.result,
        verdict_of(signatures),
        dmarc.result,
        arc.result,
        came_by_others=spf.was_checked and "dkim" in dmarc.by and "spf" not in dmarc.by,
        flags=(*_standing_flags(standing, author), *_signature_flags(signatures, mail)),
        details=without_unstorable(details),
    )


def _dmarc(author: Author, policy: Policy, spf: SpfVerdict, signatures: Sequence[Signature]) -> DmarcVerdict:
    if not author.domain:
        return DmarcVerdict("permerror", "From names no domain.")
    verdict = check_dmarc(author.domain, policy, spf, signatures)
    if author.is_ambiguous and verdict.result != "fail":  # RFC 7489 6.6.1
        return DmarcVerdict("permerror", "From names senders of several domains, or stands there twice.", author.domain)
    return verdict


def _standing(dmarc: DmarcVerdict) -> Standing:
    if dmarc.is_vouched_for:
        return Standing.VERIFIED
    if dmarc.result == "fail":
        return Standing.DISPUTED if dmarc.policy == "none" else Standing.FORGED
    return Standing.UNKNOWN if dmarc.result == "temperror" else Standing.UNVERIFIED


def _standing_flags(standing: Standing, author: Author) -> tuple[str, ...]:
    by_standing = {Standing.FORGED: ("from_forged",), Standing.DISPUTED: ("dmarc_failed",)}
    return (*by_standing.get(standing, ()), *(("from_ambiguous",) if author.is_ambiguous else ()))


def _signature_flags(signatures: Sequence[Signature], mail: InboundMail) -> tuple[str, ...]:
    """Of those that are From's domain's: others' prove nothing that anybody goes by."""
    own = [signature for signature in signatures if signature.is_aligned]
    right = [signature for signature in own if signature.result == "pass"]
    weak = [one for one in own if one.result == "policy" or (one.result == "pass" and one.unsigned)]
    moment = mail.received_at.timestamp()
    is_old = any(one.signed_at is not None and moment - one.signed_at > OLD for one in right)
    named = {
        "dkim_replayed": is_old,
        "dkim_weak": bool(weak) and len(weak) == len([one for one in own if one.result in ("pass", "policy")]),
        "dkim_expired": not right and any(one.has_expired for one in own),
    }
    return tuple(name for name, applies in named.items() if applies)


def without_unstorable(value: Any) -> Any:
    """Strings out of a stranger's mail as a database and a terminal take them."""
    if isinstance(value, dict):
        return {name: without_unstorable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_unstorable(item) for item in value]
    if isinstance(value, str) and not value.isprintable():
        return "".join(c if c.isprintable() else "�" for c in value)
    return value
