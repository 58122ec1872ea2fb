"""API keys, and secrets of addresses, where none should be: recognised by their shape, so that nobody has to know them.

A key in a URL is in the logs of every proxy on its way, one in a name or a reason would be in our database. What is found here is
refused before anything keeps it, and what is written to a log is cleared of it.
"""

import re

from django.core.exceptions import ValidationError

# `mb_test_` and 32 characters of base32. The console shows the first four of them to tell keys apart: they are no secret.
_STRAY = re.compile(r"(mb_(?:test|live)_[a-z0-9]{4})[a-z0-9]+", re.IGNORECASE)
# In the address of a provider's webhook: the path is in what Django and others write of a request.
_HOOK = re.compile(r"(/hooks/[^/\s]+/)[\w-]{20,}")
# A whole key. A body is long and has room for much that only begins like one.
_WHOLE = re.compile(rb"mb_(?:test|live)_[a-z2-7]{32}(?![a-z2-7])")


def looks_like_key(text: str) -> bool:
    """Whether more of a key than its shown beginning stands in `text`."""
    return _STRAY.search(text) is not None


def holds_key(body: bytes) -> bool:
    return _WHOLE.search(body) is not None


def without_keys(text: str) -> str:
    """`text` with each key cut to its shown beginning, and without the secret of a webhook's address."""
    return _HOOK.sub(r"\1…", _STRAY.sub(r"\1…", text))


def refuse_key(value: str) -> None:
    """A validator for what people type. Raises ValidationError."""
    if looks_like_key(value):
        raise ValidationError("An API key stands here. It must not be kept; if it is in use, revoke it.")
