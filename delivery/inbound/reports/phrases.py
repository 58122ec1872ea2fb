"""Which reasons the words of a server tell.

A phrase stands in a text as it is, in small letters; one with `…` is several pieces, in this order, with anything between them.
"""

from functools import lru_cache

from delivery.inbound.reports.phrases_content import TABLE as OF_CONTENT
from delivery.inbound.reports.phrases_recipient import TABLE as OF_RECIPIENT
from delivery.inbound.reports.phrases_sender import TABLE as OF_SENDER
from delivery.inbound.reports.phrases_system import TABLE as OF_SYSTEM
from delivery.inbound.reports.text import aligned

PHRASES = OF_RECIPIENT | OF_SENDER | OF_CONTENT | OF_SYSTEM
# What is no refusal of the sender, though a phrase of it stands there.
_NOT_REJECTED = ("5.1.0 address rejected", "recipient address rejected", "sender ip address rejected")


@lru_cache
def _cut(reason: str) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    phrases = PHRASES.get(reason, ())
    whole = tuple(phrase for phrase in phrases if "…" not in phrase)
    return whole, tuple(tuple(phrase.split("…")) for phrase in phrases if "…" in phrase)


def tells(reason: str, said: str) -> bool:
    """Whether a phrase of this reason stands in what was said, which is in small letters."""
    if reason == "rejected" and any(phrase in said for phrase in _NOT_REJECTED):
        return False
    whole, pieces = _cut(reason)
    return any(phrase in said for phrase in whole) or any(aligned(said, phrase) for phrase in pieces)
