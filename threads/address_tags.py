"""Plus-tags of ours that lead back to a mail: in its envelope sender (`b.`, where bounces go) and in its Reply-To (`r.`).

`support+b.4fz…@example.com`: twelve characters name the mail inside its inbox (the beginning of the digest of its Message-ID, by which it
is looked up), thirteen more are signed with the server's secret, so that nobody makes up a tag of a mail that he has not seen. Letters
and digits in small letters: local parts are compared without case, here and on the way.
"""

import base64
import hashlib
import hmac
from collections.abc import Collection, Iterable
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from mailbot.lib.addresses import MAX_LOCAL_PART
from threads.reading import message_id_digest

_NAMED = 15  # hexadecimal digits of the digest: 60 bits
_SIGNED = 13  # characters: 65 bits
_LENGTH = 12 + _SIGNED


class Tag(StrEnum):
    BOUNCE = "b"
    REPLY = "r"


class TaggedMail(NamedTuple):
    """A mail that left, as a tag names it."""

    message_id: str
    inbox_id: str
    thread_id: str


def tagged(address: str, tag: Tag, inbox_id: str, message_id_header: str) -> str:
    """The address with the tag; the address itself where its local part has no room for one."""
    local_part, _, domain = address.rpartition("@")
    digest = message_id_digest(message_id_header)[:_NAMED]
    name = f"{local_part}+{tag}.{_written(digest)}{_signature(tag, inbox_id, digest)}"
    return f"{name}@{domain}" if len(name.encode()) <= MAX_LOCAL_PART else address


def read_tag(text: str, inbox_id: str) -> tuple[Tag, str] | None:
    """What a tag (without `+`) says, if this server made it for this inbox: its kind, and how the digest of the Message-ID begins."""
    kind, dot, token = text.lower().partition(".")
    if not dot or kind not in list(Tag) or len(token) != _LENGTH:
        return None
    digest = _read(token[:-_SIGNED])
    if digest is None:
        return None
    tag = Tag(kind)
    signed = token[-_SIGNED:].encode()  # of text compare_digest takes ASCII only, and a stranger writes what he likes
    is_ours = any(
        hmac.compare_digest(_signature(tag, inbox_id, digest, secret).encode(), signed) for secret in _secrets()
    )
    return (tag, digest) if is_ours else None


def find_tagged(named: Collection[tuple[str, str]]) -> dict[tuple[str, str], TaggedMail]:
    """The mails that tags name, by (inbox, beginning of the digest): one query, each pair by itself in the index."""
    if not named:
        return {}
    pairs = ", ".join(["(%s, %s, %s)"] * len(named))
    statement = (
        f"WITH wanted (inbox, low, high) AS (VALUES {pairs})"  # noqa: S608 (our own text)
        " SELECT inbox_id, wanted.low, id, thread_id FROM wanted JOIN threads_message"
        " ON inbox_id = wanted.inbox AND message_id_digest >= wanted.low AND message_id_digest < wanted.high"
        " WHERE direction = 'outbound' ORDER BY sequence DESC"
    )
    values = [value for inbox_id, digest in named for value in (inbox_id, digest, f"{digest}g")]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return {(inbox, low): TaggedMail(pk, inbox, thread) for inbox, low, pk, thread in cursor.fetchall()}


def _signature(tag: Tag, inbox_id: str, digest: str, secret: str = "") -> str:
    key = _key(secret or settings.SECRET_KEY)
    signed = hashlib.blake2b(f"{tag}.{inbox_id}.{digest}".encode(), key=key, digest_size=16).digest()
    return base64.b32encode(signed).decode().lower()[:_SIGNED]


@lru_cache
def _key(secret: str) -> bytes:
    return hashlib.sha256(f"mailbot address tags {secret}".encode()).digest()


def _secrets() -> Iterable[str]:
    return [settings.SECRET_KEY, *map(str, settings.SECRET_KEY_FALLBACKS)]


def _written(digest: str) -> str:
    """60 bits in twelve letters and digits."""
    return base64.b32encode((int(digest, 16) << 4).to_bytes(8)).decode()[:12].lower()


def _read(token: str) -> str | None:
    try:
        return f"{int.from_bytes(base64.b32decode(f'{token}A==='.upper())) >> 4:015x}"
    except ValueError:
        return None
