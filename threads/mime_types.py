"""What a mail reads as once it is parsed: plain, immutable values without any database behind them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox: `name` decoded ("" when there is none), `address` bare and as written ("" when unreadable)."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class ParsedAttachment:
    """Whatever a mail carries beside its bodies, inline images and forwarded messages included.

    `filename` is safe for any file system and never empty; `content_type` is lower case and without parameters;
    `content_id` has no angle brackets; `disposition` is "attachment" or "inline"; `sha256` is of `content`, in hex.
    """

    filename: str
    content_type: str
    content: bytes
    content_id: str
    disposition: str
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.content).hexdigest())


@dataclass(frozen=True, slots=True)
class ParsedMail:
    """A mail as a reader would see it. No text in it holds NUL or a lone surrogate, no header a line break.

    Message-IDs keep their angle brackets ("<x@y>"); `message_id` is "" when missing or unreadable. `sent_at` is aware
    and UTC, None when unreadable. `sender` is the first of From, `authors` all of it. `headers` are the decoded header fields in order.
    `degraded` is "" or one line for a user: what could not be read. `flags` names the same for programs.
    """

    message_id: str = ""
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    subject: str = ""
    sent_at: datetime | None = None
    sender: Address = Address("", "")
    authors: tuple[Address, ...] = ()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body_text: str = ""
    body_html: str = ""
    attachments: tuple[ParsedAttachment, ...] = ()
    degraded: str = ""
    flags: tuple[str, ...] = ()
