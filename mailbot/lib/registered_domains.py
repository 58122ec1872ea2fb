"""Which domains are one owner's: those below the same registered domain (RFC 7489 3.1, 3.2)."""

import importlib.resources
from functools import lru_cache
from typing import Any

from publicsuffix2 import PublicSuffixList


@lru_cache(maxsize=1)
def _suffixes() -> Any:
    """The Public Suffix List as authheaders has it, which is newer than the one of the library that reads it."""
    with (importlib.resources.files("authheaders") / "public_suffix_list.txt").open(encoding="utf-8") as lines:
        return PublicSuffixList(lines)


@lru_cache(maxsize=10_000)
def organisational_domain(domain: str) -> str:
    """The registered domain that it belongs to, or itself where it is a public suffix. `domain` in A-labels, lower case."""
    labels = domain.split(".")
    suffix = (
        _suffixes().get_tld(domain, strict=True) or labels[-1]
    )  # a top-level domain that nobody knows counts as one
    return ".".join(labels[-(suffix.count(".") + 2) :])


def is_aligned(domain: str, from_domain: str, *, strictly: bool = False) -> bool:
    if not domain or not from_domain:
        return False
    domain, from_domain = domain.lower().removesuffix("."), from_domain.lower().removesuffix(".")
    if domain == from_domain:
        return True
    return not strictly and organisational_domain(domain) == organisational_domain(from_domain)
