"""DMARC (RFC 7489): whether what SPF and DKIM found speaks for the domain in From, and what that domain wants done with the rest."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from authheaders.dmarc_lookup import DMARCException, answer_to_dict

from delivery.inbound.authentication.answers import Answers
from delivery.inbound.authentication.dkim_check import Signature
from delivery.inbound.authentication.spf_check import SpfVerdict
from mailbot.lib.dns import NotFound, Temporary
from mailbot.lib.registered_domains import is_aligned, organisational_domain

POLICIES = ("none", "quarantine", "reject")
_VERSION = re.compile(r"\s*v\s*=\s*DMARC1\s*(?:;|$)")


@dataclass(frozen=True, slots=True)
class Policy:
    """`wanted` for mail of the From domain that nobody vouches for. `found_at`: the domain that publishes it; empty: nobody does."""

    wanted: str = ""
    found_at: str = ""
    strict_spf: bool = False
    strict_dkim: bool = False
    is_known: bool = True  # False: DNS did not answer


@dataclass(frozen=True, slots=True)
class DmarcVerdict:
    """`is_vouched_for`: the domain of From passes SPF or DKIM, whether it publishes a policy or not."""

    result: str
    reason: str = ""
    domain: str = ""
    policy: str = ""
    found_at: str = ""
    by: tuple[str, ...] = ()  # spf, dkim: which are aligned and pass
    is_vouched_for: bool = False

    def explained(self) -> dict[str, Any]:
        told = {
            "result": self.result,
            "domain": self.domain,
            "policy": self.policy,
            "policy_of": self.found_at,
            "aligned": list(self.by),
            "reason": self.reason,
        }
        return {name: value for name, value in told.items() if value not in ("", [])} | {"aligned": list(self.by)}


def find_policy(domain: str, answers: Answers) -> Policy:
    """RFC 7489 6.6.3: of the domain itself, else of its organisational domain. Never raises."""
    try:
        for place in dict.fromkeys((domain, organisational_domain(domain))):
            if record := _record(place, answers):
                return _policy(record, place, is_subdomain=place != domain)
    except Temporary:
        return Policy(is_known=False)
    return Policy()


def _record(domain: str, answers: Answers) -> dict[str, str] | None:
    """Exactly one, or there is none."""
    try:
        texts = answers.ask(f"_dmarc.{domain}", "TXT")
    except NotFound:
        return None
    found = [text for text in texts if _VERSION.match(text)]
    if len(found) != 1:
        return None
    try:
        return _usable(answer_to_dict(found[0]))
    except (DMARCException, ValueError):
        return None


def _usable(tags: dict[str, str]) -> dict[str, str] | None:
    """RFC 7489 6.6.3, 6: without a policy that is one it counts as p=none if it asks for reports, and otherwise not at all."""
    if tags.get("p") in POLICIES and tags.get("sp", "none") in POLICIES:
        return tags
    return {**tags, "p": "none", "sp": "none"} if tags.get("rua") else None


def _policy(tags: dict[str, str], found_at: str, *, is_subdomain: bool) -> Policy:
    wanted = tags.get("sp", tags["p"]) if is_subdomain else tags["p"]
    return Policy(wanted, found_at, tags.get("aspf") == "s", tags.get("adkim") == "s")


def check_dmarc(domain: str, policy: Policy, spf: SpfVerdict, signatures: Sequence[Signature]) -> DmarcVerdict:
    """none, pass, fail, temperror (RFC 8601 2.7.1 with RFC 7489 11.2)."""
    by = _vouching(domain, policy, spf, signatures)
    about = {
        "domain": domain,
        "policy": policy.wanted,
        "found_at": policy.found_at,
        "by": by,
        "is_vouched_for": bool(by),
    }
    if not policy.is_known:
        return DmarcVerdict("temperror", "DNS did not say which policy the domain has.", **about)  # type: ignore[arg-type]
    if not policy.found_at:
        return DmarcVerdict("none", "The domain publishes no policy.", **about)  # type: ignore[arg-type]
    if by:
        return DmarcVerdict("pass", **about)  # type: ignore[arg-type]
    if _is_open(domain, spf, signatures):
        return DmarcVerdict("temperror", "DNS did not answer to what would decide it.", **about)  # type: ignore[arg-type]
    if not spf.was_checked:
        why = "No signature of the domain is right, and SPF, which may have passed, could not be checked."
        return DmarcVerdict("none", why, **about)  # type: ignore[arg-type]
    return DmarcVerdict("fail", "Neither SPF nor DKIM passes for the domain in From.", **about)  # type: ignore[arg-type]


def _vouching(domain: str, policy: Policy, spf: SpfVerdict, signatures: Sequence[Signature]) -> tuple[str, ...]:
    """While the policy is not known only the very same domain counts, which passes under every one."""
    strict_spf, strict_dkim = policy.strict_spf or not policy.is_known, policy.strict_dkim or not policy.is_known
    by_spf = spf.result == "pass" and is_aligned(spf.domain, domain, strictly=strict_spf)
    by_dkim = any(one.result == "pass" and is_aligned(one.domain, domain, strictly=strict_dkim) for one in signatures)
    return tuple(name for name, vouches in (("spf", by_spf), ("dkim", by_dkim)) if vouches)


def _is_open(domain: str, spf: SpfVerdict, signatures: Sequence[Signature]) -> bool:
    """Whether it is DNS that withholds a pass. What other domains fail to answer for changes nothing: anybody can name a silent one."""
    waits_for_spf = spf.result == "temperror" and is_aligned(spf.domain, domain)
    return waits_for_spf or any(one.result == "temperror" and one.is_aligned for one in signatures)
