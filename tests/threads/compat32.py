"""The standard library's reading of a mail (policy compat32), to hold ours against."""

from __future__ import annotations

import email
from email.message import Message
from typing import cast

from threads.mime_bodies import content_of
from threads.mime_structure import Cutter, Part

Leaf = tuple[str, bytes]  # content type, decoded bytes


def their_leaves(raw: bytes) -> list[Leaf]:
    """The leaves in order; a forwarded message is one leaf, without its bytes, which the library does not keep."""
    return _theirs(email.message_from_bytes(raw))


def _theirs(message: Message) -> list[Leaf]:
    if message.get_content_maintype() == "message" and message.is_multipart():
        return [(message.get_content_type(), b"")]
    payload = message.get_payload()
    if isinstance(payload, list):
        return [leaf for child in payload for leaf in _theirs(cast("Message[str, str]", child))]
    content = message.get_payload(decode=True)
    return [(message.get_content_type(), content if isinstance(content, bytes) else b"")]


def our_leaves(raw: bytes) -> list[Leaf]:
    cutter = Cutter(raw)
    return _ours(cutter.cut()[1], cutter)


def _ours(part: Part, cutter: Cutter) -> list[Leaf]:
    if part.children:
        return [leaf for child in part.children for leaf in _ours(child, cutter)]
    if part.content_type.startswith("message/"):
        return [(part.content_type, b"")]
    return [(part.content_type, content_of(part, cutter))]


def their_headers(raw: bytes) -> list[tuple[str, str]]:
    return [(name, "".join(str(value).split())) for name, value in email.message_from_bytes(raw).raw_items()]


def our_headers(raw: bytes) -> list[tuple[str, str]]:
    return [(name, "".join(value.split())) for name, value in Cutter(raw).cut()[0]]
