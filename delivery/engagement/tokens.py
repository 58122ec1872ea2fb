"""What stands in a pixel or a link of ours: the message, and for a link where it leads, signed.

All of it is in the token, nothing is looked up: a link in a mailbox leads where it led for as long as the server has its keys,
whatever became of the message. And it leads nowhere else: who changes an octet has no signature.
"""

import base64
import binascii
import hashlib
import hmac
from typing import NamedTuple

from django.conf import settings
from typeid import TypeID
from uuid_utils import UUID

OPEN, CLICK = b"o", b"c"
VERSION = b"\x01"
SIGNATURE = 16  # octets of HMAC-SHA256: nobody guesses 128 bits
_ID = 16


class Read(NamedTuple):
    message_id: str
    url: str


def token(kind: bytes, message_id: str, url: str = "") -> str:
    """For a path of a URL: letters, digits, `-` and `_`."""
    told = VERSION + kind + bytes(TypeID.from_string(message_id).uuid.bytes) + url.encode("ascii")
    return base64.urlsafe_b64encode(_signature(settings.ENCRYPTION_KEYS[0], told) + told).decode().rstrip("=")


def read(kind: bytes, text: str) -> Read | None:
    """None for what is not a token of this kind that one of our keys has signed."""
    try:
        octets = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    signature, told = octets[:SIGNATURE], octets[SIGNATURE:]
    if not told.startswith(VERSION + kind) or len(told) < len(VERSION + kind) + _ID:
        return None
    if not any(hmac.compare_digest(_signature(key, told), signature) for key in settings.ENCRYPTION_KEYS):
        return None
    told = told[len(VERSION + kind) :]
    return Read(str(TypeID.from_uuid(UUID(bytes=told[:_ID]), "msg")), told[_ID:].decode("ascii"))


def _signature(key: str, told: bytes) -> bytes:
    return hmac.digest(hashlib.sha256(b"mailbot engagement " + key.encode()).digest(), told, "sha256")[:SIGNATURE]
