"""A mail cut into its parts by position, before anything is decoded (RFC 2045, RFC 2046).

Linear in the size of the mail: a delimiter is found by a plain byte search, and depth and number of parts are capped.
Where the RFCs leave a choice, it is the one of the standard library's parser, which the tests hold this against.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from threads.mime_charsets import decode_text
from threads.mime_headers import header_text

MAX_DEPTH = 20
MAX_PARTS = 1_000
MAX_HEADERS = 1_000
MAX_HEADER_BYTES = 262_144

RawHeader = tuple[str, str]  # name; body as ASCII, other bytes escaped to surrogates, folds kept

_BLANK_LINE = re.compile(rb"\n\r?\n")
_HEADER = re.compile(r"([!-9;-~]++)[ \t]*:[ \t]*+(.*(?:\n[ \t].*)*)\n?")
_AFTER_DELIMITER = re.compile(rb"(--)?[ \t]*+(?:\r\n|\n|\r|\Z)")
_TYPE = re.compile(r"\s*+([\w!#$&^.+-]{1,100})/([\w!#$&^.+-]{1,100})\s*(?:;|$|\s|\()")
_PARAMETER = re.compile(r';\s*+([^\s=;"]++)\s*+=\s*+(?:"([^"\\]*+(?:\\.[^"\\]*+)*)"?|([^;]*))', re.DOTALL)
_SEGMENT = re.compile(r"([^*]+)(?:\*(\d{1,3}))?(\*)?")


@dataclass(slots=True)
class Part:
    """One entity: its content headers and where its body stands in the mail."""

    content_type: str
    parameters: dict[str, str]
    disposition: str
    disposition_parameters: dict[str, str]
    encoding: str
    content_id: str
    start: int
    end: int
    children: list[Part] = field(default_factory=list)


@dataclass(slots=True)
class Cutter:
    """Cuts one mail; `flags` tells what was capped or missing."""

    raw: bytes
    flags: dict[str, None] = field(default_factory=dict)
    parts: int = 0

    def cut(self) -> tuple[list[RawHeader], Part]:
        """The header of the mail and the tree of its parts."""
        headers, body = self.read_header(_after_envelope_lines(self.raw), len(self.raw))
        return headers, self.part(headers, body, len(self.raw), "text/plain", 0)

    def read_header(self, start: int, end: int) -> tuple[list[RawHeader], int]:
        """The header fields at `start` and the position of the body behind them.

        A line that is no header field ends the header and begins the body, as in the standard library.
        """
        raw = self.raw
        if raw.startswith((b"\n", b"\r\n"), start, end):
            return [], start + (1 if raw[start] == 10 else 2)
        blank = _BLANK_LINE.search(raw, start, end)
        stop = blank.start() + 1 if blank else end
        text = self.header_block(start, stop)
        headers, position = self.fields(text)
        if position < len(text):
            return headers, _after_lines(raw, start, text.count("\n", 0, position))
        return headers, blank.end() if blank else end

    def header_block(self, start: int, stop: int) -> str:
        """The text of a header with LF line ends, at most MAX_HEADER_BYTES and then without its last, cut line."""
        block = self.raw[start:stop]
        if len(block) > MAX_HEADER_BYTES:
            self.flags["headers_capped"] = None
            block = block[:MAX_HEADER_BYTES]
            block = block[: block.rfind(b"\n") + 1] or block
        text = block.decode("ascii", "surrogateescape")
        return text.replace("\r\n", "\n") if "\r" in text else text

    def fields(self, text: str) -> tuple[list[RawHeader], int]:
        headers: list[RawHeader] = []
        position, length = 0, len(text)
        while position < length:
            found = _HEADER.match(text, position)
            if found is None:
                return headers, position
            if len(headers) == MAX_HEADERS:
                self.flags["headers_capped"] = None
                return headers, length
            headers.append((found[1], found[2]))
            position = found.end()
        return headers, position

    def part(self, headers: list[RawHeader], start: int, end: int, default_type: str, depth: int) -> Part:
        self.parts += 1
        part = _described(headers, start, end, default_type)
        if part.content_type.startswith("multipart/"):
            self.add_children(part, depth)
        return part

    def add_children(self, part: Part, depth: int) -> None:
        boundary = part.parameters.get("boundary", "").rstrip()
        if not boundary:
            self.flags["boundary_missing"] = None
        elif depth >= MAX_DEPTH:
            self.flags["depth_capped"] = None
        else:
            self.cut_at(part, b"--" + boundary.encode("utf-8", "surrogateescape"), depth)
            if not part.children:
                self.flags["boundary_missing"] = None

    def cut_at(self, part: Part, delimiter: bytes, depth: int) -> None:
        default_type = "message/rfc822" if part.content_type == "multipart/digest" else "text/plain"
        begin, position = -1, part.start
        while (found := self.next_delimiter(delimiter, position, part.end)) is not None:
            at, match = found
            if not self.add_child(part, begin, at, default_type, depth):
                return
            begin = position = match.end()
            if match[1]:  # the closing delimiter: what follows is an epilogue
                return
        self.add_child(part, begin, part.end, default_type, depth)

    def next_delimiter(self, delimiter: bytes, position: int, end: int) -> tuple[int, re.Match[bytes]] | None:
        """Where the next delimiter line begins, and the rest of that line. A delimiter stands at a line's start."""
        raw = self.raw
        while (at := raw.find(delimiter, position, end)) >= 0:
            position = at + len(delimiter)
            if (at == 0 or raw[at - 1] in b"\r\n") and (match := _AFTER_DELIMITER.match(raw, position, end)):
                return at, match
        return None

    def add_child(self, part: Part, begin: int, at: int, default_type: str, depth: int) -> bool:
        """Whether to go on. The line break before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1)."""
        if begin < 0 or begin == at < part.end:  # the preamble, or two delimiters in a row
            return True
        if self.parts >= MAX_PARTS:
            self.flags["parts_capped"] = None
            return False
        end = at if at == part.end else _before_line_break(self.raw, begin, at)
        headers, body = self.read_header(begin, end)
        part.children.append(self.part(headers, min(body, end), end, default_type, depth + 1))
        return True


def _after_envelope_lines(raw: bytes) -> int:
    """mbox separators, "From x" or ">From x", are no part of a mail but are found on top of stored ones."""
    if not raw.startswith((b"From ", b">From ")):
        return 0
    return raw.find(b"\n") + 1 or len(raw)


def _before_line_break(raw: bytes, begin: int, at: int) -> int:
    width = 2 if raw[at - 2 : at] == b"\r\n" else 1
    return max(begin, at - width)


def _after_lines(raw: bytes, start: int, count: int) -> int:
    for _ in range(count):
        start = raw.index(b"\n", start) + 1
    return start


# -- the headers that describe a part ------------------------------------------------------------------------------

_DESCRIBING = frozenset({"content-type", "content-disposition", "content-transfer-encoding", "content-id"})


def _described(headers: list[RawHeader], start: int, end: int, default_type: str) -> Part:
    found: dict[str, str] = {}
    for name, value in headers:
        if len(name) in (10, 12, 19, 25) and (name := name.lower()) in _DESCRIBING:
            found.setdefault(name, value)
    content_type, parameters = _content_type(found.get("content-type", ""), default_type)
    disposition, disposition_parameters = _disposition(found.get("content-disposition", ""))
    encoding = found.get("content-transfer-encoding", "")
    content_id = found.get("content-id", "")
    return Part(
        content_type,
        parameters,
        disposition,
        disposition_parameters,
        header_text(encoding).lower() if encoding else "",
        header_text(content_id).strip("<> ") if content_id else "",
        start,
        end,
    )


def _content_type(value: str, default_type: str) -> tuple[str, dict[str, str]]:
    if not value:
        return default_type, {}
    found = _TYPE.match(value)
    # RFC 2045 section 5.2: a type that cannot be read is text/plain.
    content_type = f"{found[1]}/{found[2]}".lower() if found else "text/plain"
    return content_type, parameters(value)


def _disposition(value: str) -> tuple[str, dict[str, str]]:
    if not value:
        return "", {}
    return value.partition(";")[0].strip().lower(), parameters(value)


def parameters(value: str) -> dict[str, str]:
    """The parameters of a Content-Type or Content-Disposition body, names in lower case (RFC 2045, RFC 2231)."""
    plain: dict[str, str] = {}
    segments: dict[str, list[tuple[int, bool, str]]] = {}
    for match in _PARAMETER.finditer(value):
        name = match[1].lower()
        text = match[3].strip() if match[2] is None else _unescaped(match[2])
        if "*" in name and (segment := _SEGMENT.fullmatch(name)):
            segments.setdefault(segment[1], []).append((int(segment[2] or 0), bool(segment[3]), text))
        else:
            plain.setdefault(name, text)
    return plain | {name: _joined(pieces) for name, pieces in segments.items()}


def _unescaped(text: str) -> str:
    # A backslash that escapes neither a quote nor itself stands in a Windows path.
    return re.sub(r'\\(["\\])', r"\1", text) if "\\" in text else text


def _joined(segments: list[tuple[int, bool, str]]) -> str:
    """RFC 2231 segments, in whatever order they came, percent-decoded by the charset that the first one names."""
    segments.sort(key=lambda segment: segment[0])
    charset = ""
    if segments[0][1] and segments[0][2].count("'") >= 2:
        number, encoded, text = segments[0]
        charset, _, text = text.split("'", 2)
        segments[0] = (number, encoded, text)
    contents = (_segment_bytes(text, encoded) for _, encoded, text in segments)
    return decode_text(b"".join(contents), charset)


def _segment_bytes(text: str, encoded: bool) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    return unquote_to_bytes(raw) if encoded else raw
