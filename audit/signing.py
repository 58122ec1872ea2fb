"""The keys (Ed25519) that heads of trees are signed with, and what is signed.

A key is a text of any form in `AUDIT_KEYS`, the newest first, or a line of a file. Its public half is kept (AuditKey): heads of before stay
verifiable, and a key that comes later is endorsed by the one before it, so that nobody puts another in its place unseen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.utils import timezone

from audit.canonical import canonical
from audit.leaves import moment
from audit.models import AuditHead, AuditKey

_HEAD, _KEY = b"mailbot audit head\n", b"mailbot audit key\n"
_CERTIFICATE = b"mailbot certificate\n"


class KeyRefused(Exception):
    """The key that is set is not the one in use. The message says what to do."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    private: Ed25519PrivateKey

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def id(self) -> str:
        return key_id(self.public)


def key_id(public: bytes) -> str:
    return sha256(public).hexdigest()[:16]


@lru_cache(maxsize=8)
def key_of(text: str) -> SigningKey:
    return SigningKey(Ed25519PrivateKey.from_private_bytes(sha256(b"mailbot audit key\n" + text.encode()).digest()))


def keys_that_are_set() -> list[SigningKey]:
    """The newest first. Raises KeyRefused where there is none."""
    keys = [key_of(text) for text in settings.AUDIT_KEYS if text]
    if not keys:
        raise KeyRefused("There is no key to sign the trail with: set MAILBOT_AUDIT_KEY.")
    return keys


def key_in_use() -> SigningKey:
    """The one to sign with now; the first ever is taken as it comes. Raises KeyRefused."""
    (key, *_), known = keys_that_are_set(), AuditKey.objects.order_by("-pk").first()
    if known is None:
        AuditKey.objects.get_or_create(key_id=key.id, defaults={"public_key": key.public, "made_at": timezone.now()})
        known = AuditKey.objects.latest("pk")
    if known.key_id != key.id:
        raise KeyRefused(
            f"MAILBOT_AUDIT_KEY is the key {key.id}, and the trail is signed with {known.key_id}."
            " If you mean to change it, run `manage.py rotate_audit_key`; nothing is sealed until then."
        )
    return key


def add_key(new: SigningKey, before: SigningKey | None) -> AuditKey:
    """Put `new` in use, endorsed by the key in use, or by nobody where that is lost: every verification tells of it from then on."""
    endorsement = before.private.sign(_KEY + new.public) if before else b""
    return AuditKey.objects.create(
        key_id=new.id,
        public_key=new.public,
        made_at=timezone.now(),
        endorsed_by=before.id if before else "",
        endorsement=endorsement,
    )


def signed_octets(*, account_id: str, size: int, root: bytes, time: datetime, key: str) -> bytes:
    return _HEAD + canonical(head_fields(account_id=account_id, size=size, root=root, time=time, key=key))


def head_fields(*, account_id: str, size: int, root: bytes, time: datetime, key: str) -> dict[str, Any]:
    return {"account_id": account_id, "size": size, "root": root.hex(), "time": moment(time), "key": key}


def signed_head(key: SigningKey, account_id: str, size: int, root: bytes, time: datetime) -> dict[str, Any]:
    """The columns of a head."""
    octets = signed_octets(account_id=account_id, size=size, root=root, time=time, key=key.id)
    signature = key.private.sign(octets)
    return {
        "account_id": account_id,
        "size": size,
        "time": time,
        "key_id": key.id,
        "root": root,
        "signature": signature,
    }


def head_as_json(head: AuditHead) -> dict[str, Any]:
    """As it is shown, exported and posted."""
    fields = head_fields(
        account_id=head.account_id, size=head.size, root=bytes(head.root), time=head.time, key=head.key_id
    )
    return {**fields, "signature": bytes(head.signature).hex()}


def key_as_json(key: AuditKey) -> dict[str, Any]:
    return {
        "key": key.key_id,
        "public_key": bytes(key.public_key).hex(),
        "made_at": moment(key.made_at),
        "endorsed_by": key.endorsed_by,
        "endorsement": bytes(key.endorsement).hex(),
    }


def signed_certificate(told: Mapping[str, Any]) -> dict[str, Any]:
    """A statement of the server's, signed as heads are: `key` and `signature` are added. Raises KeyRefused."""
    key = key_in_use()
    fields = {**told, "key": key.id}
    return {**fields, "signature": key.private.sign(_CERTIFICATE + canonical(fields)).hex()}


def is_certificate_signed(told: Mapping[str, Any], public_keys: Mapping[str, bytes]) -> bool:
    fields = {name: value for name, value in told.items() if name != "signature"}
    public = public_keys.get(str(told.get("key")))
    return public is not None and verifies(public, bytes.fromhex(told["signature"]), _CERTIFICATE + canonical(fields))


def is_signed(head: AuditHead, public_keys: dict[str, bytes]) -> bool:
    octets = signed_octets(
        account_id=head.account_id, size=head.size, root=bytes(head.root), time=head.time, key=head.key_id
    )
    public = public_keys.get(head.key_id)
    return public is not None and verifies(public, bytes(head.signature), octets)


def is_told_head_signed(told: Mapping[str, Any], public_keys: Mapping[str, bytes]) -> bool:
    """The same for one as it is shown."""
    fields = {name: told[name] for name in ("account_id", "size", "root", "time", "key")}
    public = public_keys.get(told["key"])
    return public is not None and verifies(public, bytes.fromhex(told["signature"]), _HEAD + canonical(fields))


def is_endorsed(key: AuditKey, public_keys: dict[str, bytes]) -> bool:
    before = public_keys.get(key.endorsed_by)
    return before is not None and verifies(before, bytes(key.endorsement), _KEY + bytes(key.public_key))


def verifies(public: bytes, signature: bytes, octets: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, octets)
    except (InvalidSignature, ValueError):
        return False
    return True
