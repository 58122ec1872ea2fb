"""How much of a mail that came in is as it was sent."""

from enum import StrEnum


class Fidelity(StrEnum):
    EXACT = "exact"  # the octets that were sent
    DECODED = "decoded"  # an ESP made text of them: where a mail is 8-bit and not UTF-8, characters are lost
    REBUILT = "rebuilt"  # put together from the fields that an ESP gives
