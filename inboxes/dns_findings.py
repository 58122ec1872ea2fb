"""What DNS says, held against what a domain should publish: whether it will do, and what to change.

Sources: RFC 7208 3.2 and 4.5 (one SPF record), RFC 6376 3.6.2.2 (one DKIM key a name), RFC 7489 6.3 and 6.6.3 (DMARC, and where it stands).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings

from inboxes.dns_records import Purpose, Record
from mailbot.lib.dns import LookupFailed, NotFound, Question
from mailbot.lib.registered_domains import organisational_domain

MOST_SHOWN = 10  # of what was found at a name
LONGEST_SHOWN = 1000

Answers = Mapping[Question, tuple[str, ...] | LookupFailed]


class RecordStatus(StrEnum):
    PENDING = "pending"  # not asked for yet
    VERIFIED = "verified"
    MISSING = "missing"
    MISMATCH = "mismatch"
    UNKNOWN = "unknown"  # DNS has not answered so far


@dataclass(frozen=True, slots=True)
class Finding:
    """`note` is what to do about it, or what else there is to say; empty where all is well."""

    status: RecordStatus
    found: tuple[str, ...] = ()
    note: str = ""


def questions_of(records: Sequence[Record]) -> set[Question]:
    asked = {Question(record.asked, record.type) for record in records}
    for record in records:
        if record.purpose is Purpose.DMARC:
            asked |= {Question(name, "TXT") for name in dmarc_above(record.name)}
    return asked


def finding(record: Record, answers: Answers) -> Finding:
    """UNKNOWN where DNS did not answer."""
    answer = answers[Question(record.asked, record.type)]
    if isinstance(answer, LookupFailed) and not isinstance(answer, NotFound):
        return Finding(RecordStatus.UNKNOWN, note=f"{answer} What is shown is from before.")
    texts = () if isinstance(answer, LookupFailed) else answer
    found = _read(record, texts, answers)
    shown = tuple(_storable(text[:LONGEST_SHOWN]) for text in (found.found or texts)[:MOST_SHOWN])
    return Finding(found.status, shown, _storable(found.note))


def _storable(text: str) -> str:
    """Whoever has the domain writes what stands there, and PostgreSQL holds no NUL."""
    return text.replace("\0", "\ufffd")


def _read(record: Record, texts: tuple[str, ...], answers: Answers) -> Finding:
    match record.purpose:
        case Purpose.OWNERSHIP:
            return _ownership(record, texts)
        case Purpose.DKIM:
            return _dkim(record, texts)
        case Purpose.DMARC:
            return _dmarc(record, texts, answers)
        case _:
            return _mx(record, texts) if record.type == "MX" else _spf(record, texts)


def _missing(record: Record) -> Finding:
    return Finding(RecordStatus.MISSING, note=f"Publish this {record.type} record at {record.name}.")


def _ownership(record: Record, texts: Sequence[str]) -> Finding:
    if record.value in (text.strip() for text in texts):
        return Finding(RecordStatus.VERIFIED)
    if not texts:
        return _missing(record)
    return Finding(RecordStatus.MISMATCH, note=f"Another text stands at {record.name}. Add this one beside it.")


def _mx(record: Record, texts: Sequence[str]) -> Finding:
    hosts = {text.partition(" ")[2] for text in texts}
    if not hosts:
        return _missing(record)
    others = ", ".join(sorted(hosts - {settings.MX_HOST}))
    if settings.MX_HOST not in hosts:
        note = f"Mail for {record.name} goes to {others}. Put {record.value} in their place, unless they hand it on to this server."
        return Finding(RecordStatus.MISMATCH, note=note)
    note = f"Mail that goes to {others} does not reach this server." if others else ""
    return Finding(RecordStatus.VERIFIED, note=note)


def _spf(record: Record, texts: Sequence[str]) -> Finding:
    policies = [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]
    if not policies:
        return _missing(record)
    if len(policies) > 1:
        note = f"{len(policies)} SPF records stand there, and receivers then obey none (RFC 7208 4.5). Keep one."
        return Finding(RecordStatus.MISMATCH, note=note)
    terms = policies[0].lower().split()
    wanted = settings.SPF_MECHANISM.lower()
    if wanted in terms or f"+{wanted}" in terms:
        return Finding(RecordStatus.VERIFIED, tuple(policies))
    first, *rest = policies[0].split()
    note = (
        f"It does not name {settings.SPF_MECHANISM}. Change it to: {' '.join([first, settings.SPF_MECHANISM, *rest])}"
    )
    return Finding(RecordStatus.MISMATCH, tuple(policies), note)


def tags_of(text: str) -> dict[str, str]:
    """`k=v; k=v` as DKIM and DMARC write it, names in lower case, without white space."""
    pairs = (part.partition("=") for part in text.split(";") if "=" in part)
    return {name.strip().lower(): "".join(value.split()) for name, _, value in pairs}


def _dkim(record: Record, texts: Sequence[str]) -> Finding:
    if not texts:
        return _missing(record)
    if len(texts) > 1:
        note = "Several texts stand there, and receivers may take any of them (RFC 6376 3.6.2.2). Keep this one."
        return Finding(RecordStatus.MISMATCH, note=note)
    published, wanted = tags_of(texts[0]), tags_of(record.value)
    if published.get("p") == wanted["p"] and published.get("k", "rsa") == "rsa":
        return Finding(RecordStatus.VERIFIED)
    what = "The key is revoked there (an empty p=)" if published.get("p") == "" else "Another key stands there"
    return Finding(RecordStatus.MISMATCH, note=f"{what}. Put this value in its place, all of it.")


def _dmarc(record: Record, texts: Sequence[str], answers: Answers) -> Finding:
    for name in (record.name, *dmarc_above(record.name)):
        answer = texts if name == record.name else answers.get(Question(name, "TXT"), ())
        policies = [] if isinstance(answer, LookupFailed) else [text for text in answer if _is_dmarc(text)]
        if len(policies) > 1:
            return Finding(RecordStatus.MISMATCH, note="Several DMARC records stand there, so none counts. Keep one.")
        if policies:
            note = "" if name == record.name else f"As {name} says for all its subdomains."
            return Finding(RecordStatus.VERIFIED, tuple(policies), note or _weak_spot(policies[0]))
    return _missing(record)


def _is_dmarc(text: str) -> bool:
    return tags_of(text).get("v") == "DMARC1"


def _weak_spot(policy: str) -> str:
    tags = tags_of(policy)
    if tags.get("adkim") == "s":
        return "adkim=s: mail of subdomains, which is signed for the domain itself, does not pass by its signature."
    return ""


def dmarc_above(name: str) -> list[str]:
    """Where else the policy of `_dmarc.<domain>` may stand: at the registered domain that it belongs to, and nowhere between
    (RFC 7489 6.6.3)."""
    domain = name.partition(".")[2]
    above = organisational_domain(domain)
    return [f"_dmarc.{above}"] if above != domain else []
