"""Header fields as a reader sees them: encoded words, addresses, Message-IDs, dates. Linear time, nothing raises.

The standard library is not used for addresses and encoded words: its address parser recurses on "((((" and raises on
much of what real mail holds.
"""

from __future__ import annotations

import binascii
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz

from threads.mime_charsets import decode_text, safe_text
from threads.mime_types import Address

MAX_ADDRESSES = 1_000
MAX_REFERENCES = 100
MAX_MESSAGE_ID = 998  # RFC 5322 section 2.1.1: no line is longer

_CONTROL = re.compile("[\x01-\x1f\x7f\x85\u2028\u2029]+")
# No group is possessive here or in mime_structure: before Python 3.11.5 `(?:a|b)*+` fails where it must match (gh-106052).
# The text may hold a stray "?" or "=", as broken encoders leave it, but not the beginning of another encoded word.
_ENCODED_WORD = re.compile(
    r"=\?([\w.:+-]{1,40})(?:\*[\w-]{0,20})?\?([bBqQ])\?([^?=]*+(?:(?:\?(?!=)|=(?!\?[^=]))[^?=]*+)*)\?=", re.DOTALL
)
_MESSAGE_ID = re.compile(r"<([^<>]+)>")


def header_text(value: str) -> str:
    """A raw field body (ASCII with escaped bytes, folded) as one decoded line without control characters."""
    if value.isprintable() and "=?" not in value:  # most fields are; neither folds nor escaped bytes are printable
        return value.strip()
    if "\n" in value:
        value = unfolded(value)
    value = decode_words(value) if "=?" in value else _with_bytes_read(value)
    if value.isprintable():
        return value.strip()
    return _CONTROL.sub(" ", safe_text(value)).strip()


def unfolded(value: str) -> str:
    """A field body on one line, a single blank where it was folded (RFC 5322 section 2.2.3)."""
    return " ".join(filter(None, [line.strip(" \t\r") for line in value.split("\n")]))


def _with_bytes_read(value: str) -> str:
    """Raw bytes in a header are UTF-8 (RFC 6532); in older mail they are in some 8-bit charset."""
    if value.isascii():
        return value
    return decode_text(value.encode("utf-8", "surrogateescape"))


def decode_words(value: str) -> str:
    """Encoded words decoded (RFC 2047), broken ones as far as they go. Linear time."""
    pieces: list[str] = []
    pending: list[tuple[str, bytes]] = []
    position = 0
    for word in _ENCODED_WORD.finditer(value):
        between = value[position : word.start()]
        if between.strip() or not pending:  # blanks between two encoded words are not part of the text
            pieces += [_decoded_run(pending), _with_bytes_read(between)]
            pending = []
        pending.append((word[1], _word_bytes(word[2], word[3])))
        position = word.end()
    return "".join((*pieces, _decoded_run(pending), _with_bytes_read(value[position:])))


def _decoded_run(words: list[tuple[str, bytes]]) -> str:
    """Neighbours of one charset are joined first: encoders split characters between two words."""
    joined: list[tuple[str, list[bytes]]] = []
    for charset, content in words:
        if joined and joined[-1][0].lower() == charset.lower():
            joined[-1][1].append(content)
        else:
            joined.append((charset, [content]))
    return "".join(decode_text(b"".join(contents), charset) for charset, contents in joined)


def _word_bytes(encoding: str, text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    if encoding in "qQ":
        return binascii.a2b_qp(raw, header=True)
    return decode_base64(raw)


def decode_base64(raw: bytes) -> bytes:
    """Base64 with everything foreign left out and the padding mended."""
    try:
        return binascii.a2b_base64(raw)
    except binascii.Error:
        kept = re.sub(rb"[^A-Za-z0-9+/]", b"", raw.split(b"=", 1)[0])
        kept = kept[:-1] if len(kept) % 4 == 1 else kept  # six bits alone make no byte
        return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4))


# -- addresses ---------------------------------------------------------------------------------------------------

_LOCAL_AT_DOMAIN = r'[^<>()\[\]\\:;,@\s"]+@[^<>()\\:;,@\s"]+'
_SIMPLE = re.compile(rf'\s*+(?:"([^"\\]*)"\s*+|([^"<>()\[\]\\:;,@]*))<({_LOCAL_AT_DOMAIN})>\s*')
_BARE = re.compile(rf"\s*+({_LOCAL_AT_DOMAIN})\s*")
_TOKEN = re.compile(
    r"=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?="  # an encoded word may hold a comma though it must not
    r'|"[^"\\]*+(?:\\.[^"\\]*+)*"?'
    r"|<[^<>]*>?"
    r"|\[[^\[\]<>,;]*\]?"
    r"|[(),;:]"
    r'|[^"<\[(),;:=]+'
    r"|.",
    re.DOTALL,
)
_ADDRESS = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s@"<>]+)@[^\s@<>]+')
_QUOTED = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*)"?')


def addresses(value: str) -> tuple[Address, ...]:
    """The mailboxes of a raw address field (RFC 5322 section 3.4), at most MAX_ADDRESSES; groups are flattened."""
    simple = _SIMPLE.fullmatch(value) or _BARE.fullmatch(value)
    if simple:
        return (_simple_address(simple),)
    return tuple(_AddressReader(unfolded(value)).read())


def _simple_address(match: re.Match[str]) -> Address:
    if match.re is _BARE:
        return Address("", header_text(match[1]))
    return Address(header_text(match[1] or match[2] or ""), header_text(match[3]))


class _AddressReader:
    """Reads mailbox after mailbox in one pass over the tokens of a field."""

    def __init__(self, value: str) -> None:
        self.tokens = _TOKEN.finditer(value)
        self.found: list[Address] = []
        self.start_mailbox()

    def start_mailbox(self) -> None:
        self.phrase: list[str] = []
        self.comment: list[str] = []
        self.angle = ""

    def read(self) -> list[Address]:
        while (match := next(self.tokens, None)) and len(self.found) < MAX_ADDRESSES:
            self.take(match[0])
        self.finish_mailbox()
        return self.found[:MAX_ADDRESSES]

    def take(self, piece: str) -> None:
        if piece in (",", ";"):
            self.finish_mailbox()
        elif piece == ":":  # what stood before it is the name of a group, or "mailto"
            self.start_mailbox()
        elif piece == "(":
            self.skip_comment()
        elif piece.startswith("<"):
            self.angle = self.angle or piece.strip("<>")
        elif piece.startswith('"') and not piece.endswith('"'):
            self.read_unclosed_quote(piece)
        elif piece != ")":
            self.phrase.append(piece)

    def read_unclosed_quote(self, piece: str) -> None:
        """An unclosed quote reaches to the end of the field; what it swallowed is read again without quotes."""
        self.tokens = _TOKEN.finditer(piece.replace('"', " "))

    def skip_comment(self) -> None:
        depth = 1
        for match in self.tokens:
            piece = match[0]
            depth += (piece == "(") - (piece == ")")
            if not depth:
                return
            self.comment.append(piece)

    def finish_mailbox(self) -> None:
        phrase = "".join(self.phrase).strip()
        if self.angle:
            self.add(phrase, self.angle)
        elif _ADDRESS.fullmatch(phrase):
            self.add("", phrase)
        elif phrase or self.comment:
            self.add_without_angle(phrase)
        self.start_mailbox()

    def add_without_angle(self, phrase: str) -> None:
        """`joe@example.org Joe`, `Joe joe@example.org`, or a name alone."""
        words = phrase.split() if "@" in phrase else []
        found = next((word for word in words if _ADDRESS.fullmatch(word)), "")
        self.add(" ".join(word for word in words if word != found) if found else phrase, found)

    def add(self, phrase: str, address: str) -> None:
        name = header_text(_QUOTED.sub(_unquoted, phrase)) or header_text("".join(self.comment))
        bare = address.rpartition(":")[2] if address.startswith("@") else address  # RFC 5322 section 4.4: a route
        self.found.append(Address(name, header_text(bare)))


def _unquoted(match: re.Match[str]) -> str:
    return re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL)


# -- identifiers and dates -----------------------------------------------------------------------------------------


def message_ids(value: str) -> tuple[str, ...]:
    """The Message-IDs of a raw field, with brackets, in order, each once (RFC 5322 section 3.6.4).

    At most MAX_REFERENCES: the first, which began the thread, and the last ones, which are nearest to this mail.
    """
    found = _MESSAGE_ID.findall(value) or [word for word in value.split() if "@" in word]
    ids = ("".join(one.split()) for one in found)
    unique = dict.fromkeys(f"<{header_text(one)}>" for one in ids if 0 < len(one) <= MAX_MESSAGE_ID)
    listed = tuple(unique)
    return listed if len(listed) <= MAX_REFERENCES else (listed[0], *listed[1 - MAX_REFERENCES :])


def message_id(value: str) -> str:
    """The Message-ID of a raw field with brackets, also when it was written without them; "" when unreadable."""
    found = message_ids(value)
    if found:
        return found[0]
    bare = "".join(value.split()).strip("<>")
    return f"<{header_text(bare)}>" if 0 < len(bare) <= MAX_MESSAGE_ID else ""


def sent_at(value: str) -> datetime | None:
    """A raw Date field in UTC, None when unreadable (RFC 5322 section 3.3, obsolete forms included)."""
    try:
        parts = parsedate_tz(unfolded(value[:200]))
        if parts is None:
            return None
        year, month, day, hour, minute, second = parts[:6]
        local = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        return local - timedelta(seconds=parts[9] or 0)
    except Exception:  # the standard library's date parser raises all sorts on malformed dates
        return None
