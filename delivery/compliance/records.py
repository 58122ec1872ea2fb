"""What a domain's DNS says of who may send for it: SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC 7489), and MX.

DNS is asked a few times, each time for many records at once, and never longer than the caller allows: what does not answer by then is
`unknown`.
"""

import re
from collections.abc import Collection
from time import monotonic

from delivery.compliance.checks import Check, Standing
from inboxes.dns_findings import dmarc_above, tags_of
from inboxes.domains import is_of_server
from mailbot.lib.dns import LookupFailed, NotFound, Question, lookup_all

MAX_LOOKUPS = 10  # RFC 7208 4.6.4: beyond, a receiver answers permerror
MAX_ROUNDS = 10
# What costs a look-up of its own (RFC 7208 4.6.4), with the name that it is made for, if it stands there.
_TERM = re.compile(
    r"[+?~-]?(?P<name>include|a|mx|ptr|exists|redirect)(?:[:=](?P<domain>[^/\s]+))?(?:/\S*)?", re.IGNORECASE
)
NOT_ADDED = "Add it under /v1/domains: then mail is signed with a key of its own. Or see whether its provider signs."
OF_SERVER = "It is the server's own domain: let its smart host or ESP sign, or take an inbox on a domain of yours (/v1/domains)."
ASK_AGAIN = "Ask again in a minute; if it stays, look whether the domain's name servers answer."


def check_records(domain: str, selectors: Collection[str], within: float) -> list[Check]:
    """spf, dkim, dmarc and mx of a canonical domain. `selectors`: of the DKIM keys that sign its mail; none: nobody knows them."""
    ends_at = monotonic() + within
    keys = [Question(f"{selector}._domainkey.{domain}", "TXT") for selector in selectors]
    policies = [Question(name, "TXT") for name in _policy_names(domain)]
    asked = [Question(domain, "TXT"), Question(domain, "MX"), *keys, *policies]
    answers = lookup_all(asked, within=within)
    return [
        _spf(domain, answers[asked[0]], ends_at),
        _dkim([(question.name, answers[question]) for question in keys], is_of_server(domain)),
        _dmarc([(question.name, answers[question]) for question in policies]),
        _mx(domain, answers[asked[1]]),
    ]


def _policy_names(domain: str) -> list[str]:
    """Where its policy may stand: that of the registered domain is for what is below, too (RFC 7489 6.6.3)."""
    own = f"_dmarc.{domain}"
    return [own, *dmarc_above(own)]


def _spf(domain: str, answer: tuple[str, ...] | LookupFailed, ends_at: float) -> Check:
    if isinstance(answer, LookupFailed) and not isinstance(answer, NotFound):
        return Check("spf", Standing.UNKNOWN, str(answer), ASK_AGAIN)
    records = [] if isinstance(answer, LookupFailed) else _beginning("v=spf1", answer)
    if not records:
        fix = f"Publish a TXT record at {domain} that begins with v=spf1 and names who sends for it."
        return Check("spf", Standing.FAIL, f"{domain} has no SPF record.", fix)
    if len(records) > 1:
        fix = "Join them into one: receivers take two for an error (RFC 7208 4.5)."
        return Check("spf", Standing.FAIL, f"{domain} has {len(records)} SPF records.", fix)
    return _spf_record(domain, records[0], ends_at)


def _spf_record(domain: str, record: str, ends_at: float) -> Check:
    terms = record.lower().split()
    if "+all" in terms or "all" in terms:
        return Check(
            "spf", Standing.FAIL, "Its SPF record ends with +all: anybody may send.", "End it with ~all or -all."
        )
    number = _lookups(record, ends_at)
    if number > MAX_LOOKUPS:
        reason = f"Its SPF record takes {number} look-ups; receivers make {MAX_LOOKUPS} and take more for an error."
        return Check("spf", Standing.FAIL, reason, "Take out includes that are not needed.")
    if not any(term.startswith(("-all", "~all", "redirect=")) for term in terms):
        return Check("spf", Standing.WARN, "Its SPF record says nothing of other senders.", "End it with ~all or -all.")
    return Check("spf", Standing.PASS, f"{domain} says who may send: {record[:200]}")


def _lookups(record: str, ends_at: float) -> int:
    """As far as DNS answers in time; not on beyond the limit."""
    number, seen, waiting = 0, set[str](), [record]
    for _ in range(MAX_ROUNDS):
        terms = [found for text in waiting for term in text.split()[1:] if (found := _TERM.fullmatch(term))]
        number += len(terms)
        named = {
            found["domain"].lower()
            for found in terms
            if found["domain"] and found["name"].lower() in ("include", "redirect")
        }
        further = [Question(name, "TXT") for name in sorted(named - seen) if "%" not in name]
        left = ends_at - monotonic()
        if not further or number > MAX_LOOKUPS or left <= 0:
            return number
        seen |= named
        answers = lookup_all(further, within=left)
        waiting = [
            text for answer in answers.values() if isinstance(answer, tuple) for text in _beginning("v=spf1", answer)
        ]
    return number


def _dkim(keys: list[tuple[str, tuple[str, ...] | LookupFailed]], of_server: bool) -> Check:
    if not keys:
        fix = OF_SERVER if of_server else NOT_ADDED
        return Check("dkim", Standing.UNKNOWN, "It is not known by which DKIM key its mail is signed.", fix)
    for name, answer in keys:
        if isinstance(answer, tuple) and any(tags_of(text).get("p") for text in answer):
            return Check("dkim", Standing.PASS, f"The public key stands at {name}.")
    name, answer = keys[0]
    if isinstance(answer, LookupFailed) and not isinstance(answer, NotFound):
        return Check("dkim", Standing.UNKNOWN, str(answer), ASK_AGAIN)
    return Check("dkim", Standing.FAIL, f"There is no key at {name}.", f"Publish the TXT record of {name}.")


def _dmarc(policies: list[tuple[str, tuple[str, ...] | LookupFailed]]) -> Check:
    for name, answer in policies:
        if isinstance(answer, LookupFailed):
            if not isinstance(answer, NotFound):
                return Check("dmarc", Standing.UNKNOWN, str(answer), ASK_AGAIN)
            continue
        if records := _beginning("v=dmarc1", answer):
            return _dmarc_record(name, records)
    name = policies[0][0]
    fix = f"Publish a TXT record at {name}: v=DMARC1; p=none to begin with, later p=quarantine or p=reject."
    return Check("dmarc", Standing.FAIL, f"There is no DMARC record at {name}.", fix)


def _dmarc_record(name: str, records: list[str]) -> Check:
    policy = tags_of(records[0]).get("p", "").lower()
    if len(records) > 1 or policy not in ("none", "quarantine", "reject"):
        return Check(
            "dmarc",
            Standing.FAIL,
            f"What stands at {name} is no DMARC policy.",
            "Leave one record, with p=none, quarantine or reject.",
        )
    if policy == "none":
        fix = "When its reports show that all of your mail passes, go on to p=quarantine and then p=reject."
        return Check("dmarc", Standing.PASS, f"{name} has p=none: forged mail is still delivered.", fix)
    return Check("dmarc", Standing.PASS, f"{name} has p={policy}.")


def _mx(domain: str, answer: tuple[str, ...] | LookupFailed) -> Check:
    if isinstance(answer, tuple):
        if answer == ("0 .",):
            return Check(
                "mx", Standing.FAIL, f"{domain} says that it takes no mail (RFC 7505).", "Publish an MX record."
            )
        return Check("mx", Standing.PASS, f"Answers and bounces go to {answer[0].partition(' ')[2]}.")
    if isinstance(answer, NotFound):
        fix = f"Publish an MX record at {domain}: many receivers refuse mail that cannot be answered."
        return Check("mx", Standing.FAIL, f"{domain} has no MX record.", fix)
    return Check("mx", Standing.UNKNOWN, str(answer), ASK_AGAIN)


def _beginning(version: str, texts: Collection[str]) -> list[str]:
    return [
        text for text in texts if text.lower() == version or text.lower().startswith((f"{version} ", f"{version};"))
    ]
