"""What is known of who sent a mail: the verdicts on its SPF, DKIM, DMARC and ARC, and how far its From can be believed.

`delivery.inbound.authentication` finds it out before the mail is filed; here is what a message keeps of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Standing(StrEnum):
    """How far the address in From can be believed."""

    VERIFIED = "verified"  # the domain of From vouches for the mail (RFC 7489 3.1), or this server wrote it
    UNVERIFIED = "unverified"  # nobody vouches for it, which most mail of small senders is
    UNKNOWN = "unknown"  # DNS did not answer
    DISPUTED = "disputed"  # DMARC fails, but the domain asks for nothing to be done about it (p=none)
    FORGED = "forged"  # DMARC fails, and the domain wants such mail kept away (quarantine or reject)


@dataclass(frozen=True, slots=True)
class Authenticity:
    """`spf`, `dkim`, `dmarc`, `arc`: the words of RFC 8601 2.7. `flags`: what of it stands in `trust.flags`. `details`: for people."""

    standing: Standing = Standing.UNVERIFIED
    spf: str = "none"
    dkim: str = "none"
    dmarc: str = "none"
    arc: str = "none"
    is_internal: bool = False
    # Its domain signed it, but the server that brought it is not one of the domain's: forwarded, or replayed.
    came_by_others: bool = False
    flags: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def verdicts(self) -> dict[str, str]:
        return {"spf": self.spf, "dkim": self.dkim, "dmarc": self.dmarc}

    def explained(self) -> dict[str, Any]:
        return {**self.verdicts(), "arc": self.arc, "standing": self.standing.value, **self.details}


NOT_CHECKED = Authenticity(details={"method": "none", "reason": "It was not checked."})
