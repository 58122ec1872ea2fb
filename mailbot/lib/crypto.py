"""Encryption of the few things that must be kept and read again: credentials of providers.

Fernet (AES-128-CBC and HMAC-SHA256) of the library `cryptography`. `ENCRYPTION_KEYS` are texts of any form, the newest first: it
encrypts, all of them decrypt, so that a key can be changed without a moment in which something cannot be read.
"""

import base64
import hashlib
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class CannotDecrypt(Exception):
    """None of the keys is the one that it was encrypted with, or it was changed since."""


@lru_cache(maxsize=8)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())) for key in keys])


def _current() -> MultiFernet:
    return _fernet(tuple(settings.ENCRYPTION_KEYS))


def encrypted(text: str) -> str:
    """ASCII, some 4/3 of the length and 100 more."""
    return _current().encrypt(text.encode()).decode("ascii")


def decrypted(token: str) -> str:
    """Raises CannotDecrypt."""
    try:
        return _current().decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise CannotDecrypt("None of the keys in MAILBOT_ENCRYPTION_KEYS decrypts it.") from error


def rotated(token: str) -> str:
    """The same, encrypted with the newest key. Raises CannotDecrypt."""
    try:
        return _current().rotate(token.encode()).decode("ascii")
    except InvalidToken as error:
        raise CannotDecrypt("None of the keys in MAILBOT_ENCRYPTION_KEYS decrypts it.") from error
