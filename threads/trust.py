"""How far a mail can be trusted to be from whom it seems to be: the flags of `trust`, and a score.

The score is a sum of what is known, with the weights below (docs/mail-authentication.md); a flag names one thing to look at. Nothing here
keeps mail out: only `threads.matching` does, and only out of a thread.
"""

import re
from dataclasses import dataclass
from typing import Any

from mailbot.lib.addresses import comparable
from mailbot.lib.registered_domains import organisational_domain
from threads.authenticity import Authenticity, Standing
from threads.lookalikes import looks_like
from threads.matching import Decision
from threads.models import Thread
from threads.reading import MailContent

BASE = {
    Standing.VERIFIED: 1.0,
    Standing.UNVERIFIED: 0.5,
    Standing.UNKNOWN: 0.5,
    Standing.DISPUTED: 0.3,
    Standing.FORGED: 0.1,
}
WEIGHTS = {
    "thread_suspect": 0.2,
    "from_ambiguous": 0.3,
    "lookalike_domain": 0.6,
    "display_name_spoof": 0.4,
    "dkim_replayed": 0.4,
    "dkim_redirected": 0.1,
    "dkim_weak": 0.1,
    "dkim_expired": 0.1,
}
MAX_COMPARED = 100  # participants of a thread whose domains a sender's is compared with
_ADDRESS = re.compile(
    r"[^\s<>\"'(),:;]{1,64}@([A-Za-z0-9\u0080-\uffff-]{1,63}(?:\.[A-Za-z0-9\u0080-\uffff-]{1,63}){1,8})"
)


@dataclass(frozen=True, slots=True)
class Trust:
    score: float
    flags: tuple[str, ...]
    looks_like: str = ""

    def explained(self) -> dict[str, Any]:
        return {"score": self.score, **({"looks_like": self.looks_like} if self.looks_like else {})}


def judge(
    own_address: str,
    content: MailContent,
    authenticity: Authenticity,
    decision: Decision,
    named: Thread | None,
    *,
    is_replay: bool,
) -> Trust:
    """`named`: the thread that it names, whether it gets into it or not. `is_replay`: its signature was here before."""
    similar = _similar(own_address, content, named)
    applies = {
        **dict.fromkeys(authenticity.flags, True),
        "thread_suspect": decision.is_suspect,
        "sender_unverified": decision.thread_id is not None and authenticity.standing is not Standing.VERIFIED,
        "lookalike_domain": bool(similar),
        "display_name_spoof": _names_another(content),
        "dkim_redirected": authenticity.came_by_others and own_address not in _addressed(content),
    }
    if is_replay:
        applies["dkim_replayed"] = True
    flags = tuple(name for name, is_so in applies.items() if is_so)
    score = BASE[authenticity.standing] - sum(WEIGHTS.get(flag, 0) for flag in flags)
    return Trust(round(max(score, 0.0), 2), flags, similar)


def _addressed(content: MailContent) -> set[str]:
    return {comparable(one.address) for one in (*content.parsed.to, *content.parsed.cc, *content.parsed.bcc)}


def _similar(own_address: str, content: MailContent, named: Thread | None) -> str:
    """The domain that the sender's could be taken for: the inbox's own, or a participant's of the thread that it names."""
    sender = comparable(content.parsed.sender.address)
    participants = named.participants[:MAX_COMPARED] if named else []
    if not sender or sender in participants:
        return ""
    domain = sender.rpartition("@")[2]
    known = dict.fromkeys([_domain_of(own_address), *map(_domain_of, participants)])
    if domain in known:
        return ""
    return next((other for other in known if other and looks_like(domain, other)), "")


def _domain_of(address: str) -> str:
    return address.rpartition("@")[2]


def _names_another(content: MailContent) -> bool:
    """A display name that reads as an address of somebody else: many programs show it and nothing else."""
    sender = content.parsed.sender
    if "@" not in sender.name:
        return False
    own = organisational_domain(comparable(sender.address).rpartition("@")[2])
    return any(organisational_domain(domain.lower()) != own for domain in _ADDRESS.findall(sender.name[:1000]))
