"""The ARC chain of a mail (RFC 8617) by dkimpy."""

import re
from dataclasses import dataclass
from typing import Any

import dkim

from delivery.inbound.authentication.answers import Answers
from delivery.inbound.authentication.signed_mail import MAX_FIELD, Refused, SealedMail
from mailbot.lib.dns import Temporary

MAX_SETS = 50  # RFC 8617 4.2.1
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class ArcVerdict:
    """`sealers`: the domains that sealed it, the last one first."""

    result: str
    reason: str = ""
    sealers: tuple[str, ...] = ()

    def explained(self) -> dict[str, Any]:
        told = {"result": self.result, "reason": self.reason, "sealers": list(self.sealers)}
        return {name: value for name, value in told.items() if value}


def check_arc(raw: bytes, answers: Answers) -> ArcVerdict:
    """none, pass, fail (RFC 8617 4.4), or temperror. Never raises."""
    if b"arc-" not in raw[: 512 * 1024].lower():
        return ArcVerdict("none")
    try:
        return _verify(SealedMail(raw, answers))
    except Temporary as error:
        return ArcVerdict("temperror", str(error)[:LONGEST_REASON])
    except Exception as error:  # whatever dkimpy makes of it is no chain that holds
        return ArcVerdict("fail", f"{type(error).__name__}: {error}"[:LONGEST_REASON])


def _verify(mail: SealedMail) -> ArcVerdict:
    fields = [(name.lower(), value) for name, value in mail.headers if name.lower() in dkim.ARC.ARC_HEADERS]
    if not fields:
        return ArcVerdict("none")
    check_structure(fields)
    result, sets, reason = mail.verify()
    sealers = tuple(one["as-domain"].decode("ascii", "replace") for one in sets if "as-domain" in one)
    return ArcVerdict(
        (result or dkim.CV_Fail).decode(), "" if result == dkim.CV_Pass else reason[:LONGEST_REASON], sealers
    )


def check_structure(fields: list[tuple[bytes, bytes]]) -> None:
    """RFC 8617 5.2, what is known before any key is. Raises Refused."""
    numbers: dict[int, list[bytes]] = {}
    for name, value in fields:
        if len(value) > MAX_FIELD:
            raise Refused(f"A field is longer than {MAX_FIELD // 1024} kB.")
        numbers.setdefault(_instance(name, value), []).append(name)
    if max(numbers) > MAX_SETS:
        raise Refused(f"There are more than {MAX_SETS} sets.")
    if sorted(numbers) != list(range(1, len(numbers) + 1)):
        raise Refused("The sets are not numbered from 1 without a gap.")
    if any(sorted(names) != sorted(dkim.ARC.ARC_HEADERS) for names in numbers.values()):
        raise Refused("A set has not each of its three fields once.")


_INSTANCE = re.compile(rb"(?:^|;)\s*i\s*=\s*(\d{1,4})\s*(?=;|$)")


def _instance(name: bytes, value: bytes) -> int:
    found = _INSTANCE.findall(value)
    if len(found) != 1 and not (found and name == b"arc-authentication-results"):
        raise Refused("A field does not say to which set it belongs.")
    return int(found[0])
