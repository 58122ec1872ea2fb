"""Whether a bounce is hard: about the address, and for good. Only a hard one suppresses and counts against who sent."""

import re

from delivery.outbound.outcomes import Report

BOUNCE_TYPE = "bounce_type"  # in a report's data: what whoever told of the bounce says himself, where he does
HARD, SOFT = "hard", "soft"
# RFC 3463: the mailbox or its domain is not there, or takes no mail. What is full, too large, refused for its content or for who sends it
# (5.2.2, 5.3.x, 5.6.x, 5.7.x) says nothing of the address. 5.0.0 says nothing at all, as does no code.
DEAD = frozenset({
    *("5.0.0", "5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.6", "5.1.10", "5.2.0", "5.2.1", "5.4.4", "5.4.310"),
})  # fmt: skip
UNSAID = frozenset({"5.0.0", "5.1.0", "5.2.0"})
_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")  # RFC 3463 2
_BASIC = re.compile(r"(?<![\d.])([245]\d\d)(?=[ -]|$)")  # RFC 5321 4.2
_NOT_THE_ADDRESS = re.compile(
    r"\b(spam|blocked|block ?list|blacklist|policy|policies|reputation|quota|mailbox (?:is )?full|over ?quota|rate limit|too many|greylist"
    r"|dmarc|dkim|spf|too large|timed? ?out|try again|temporar)",
    re.IGNORECASE,
)


def is_hard(report: Report) -> bool:
    """Whether a bounce is about the address and for good. What says that it is not counts, whoever says so; a bounce about which nothing
    is known is hard: a report of one is told when it was given up."""
    told, code = report.data.get(BOUNCE_TYPE, ""), status_code_of(report.reason)
    if told == SOFT or code.startswith(("4", "2")):
        return False
    if code and code not in UNSAID and "." in code:
        return code in DEAD
    return told == HARD or not _NOT_THE_ADDRESS.search(report.reason)


def status_code_of(reason: str) -> str:
    """The enhanced status code (RFC 3463) in what a server said, else its reply code (RFC 5321), else nothing."""
    match = _ENHANCED.search(reason) or _BASIC.search(reason)
    return match[1] if match else ""
