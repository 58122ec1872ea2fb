"""Domains that a reader takes for another one.

Told by what they look like, not by what they mean: characters that are drawn alike (Unicode TR 39, by confusable-homoglyphs), letters that
are when they stand together (`rn` and `m`), one slip of the keyboard, and a domain that begins with the whole of another one. That
`example-pay` is not `example` no program can tell.
"""

import unicodedata
from functools import lru_cache

from mailbot.lib.addresses import unicode_domain
from mailbot.lib.registered_domains import organisational_domain

SHORTEST = 5  # characters of a name for which one slip says anything
# What ASCII has of it; the table of Unicode takes no letters together.
_TOGETHER = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("1", "l"), ("i", "l"), ("0", "o"), ("5", "s"))


@lru_cache(maxsize=10_000)
def looks_like(domain: str, other: str) -> bool:
    """Both canonical. Those of one registered domain belong to one owner and are not alike but the same."""
    ours, theirs = organisational_domain(other), organisational_domain(domain)
    if ours == theirs or "." not in other or "." not in domain:
        return False
    if domain.startswith(f"{other}."):
        return True
    shown, known = unicode_domain(theirs), unicode_domain(ours)
    if skeleton(shown) == skeleton(known):
        return True
    name = known.partition(".")[0]
    return len(name) >= SHORTEST and is_one_slip(shown, known)


def skeleton(domain: str) -> str:
    """The same for domains that are drawn alike."""
    plain = "".join(_plain(character) for character in unicodedata.normalize("NFKC", domain).casefold())
    for letters, one in _TOGETHER:
        plain = plain.replace(letters, one)
    return plain


@lru_cache(maxsize=2048)
def _plain(character: str) -> str:
    """The ASCII letter that it looks like, if it looks like one: also without its accent."""
    if character.isascii():
        return character
    found = [one["c"] for one in _confusables().get(character, ()) if one["c"].isascii() and len(one["c"]) == 1]
    if found:
        return min(found, key=lambda one: (not one.isalnum(), one.lower() != one, one)).lower()
    base = unicodedata.normalize("NFD", character)[0]
    return base if base == character else _plain(base)


@lru_cache(maxsize=1)
def _confusables() -> dict[str, list[dict[str, str]]]:
    """Read when a domain outside of ASCII is first seen, which for many servers is never."""
    from confusable_homoglyphs.confusables import confusables_data

    return dict(confusables_data)


def is_one_slip(text: str, other: str) -> bool:
    """Whether one character was left out, put in, changed, or swapped with its neighbour (Damerau and Levenshtein: distance 1)."""
    if text == other or abs(len(text) - len(other)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    ours, theirs = text[start:], other[start:]
    return (
        ours[1:] == theirs
        or ours == theirs[1:]
        or ours[1:] == theirs[1:]
        or (ours[:2] == theirs[1::-1] and ours[2:] == theirs[2:])
    )
