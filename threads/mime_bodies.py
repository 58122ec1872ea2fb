"""Which parts of a mail are its bodies and which its attachments, and what they hold once decoded."""

from __future__ import annotations

import binascii
import html
import re

from inscriptis import get_text  # type: ignore[import-untyped]

from threads.mime_charsets import codec_for, decode_text
from threads.mime_headers import decode_base64, header_text
from threads.mime_names import extension_for, made_up_name, safe_name
from threads.mime_structure import Cutter, Part
from threads.mime_types import ParsedAttachment

# Rendering a table inside a table inside a table costs more than linear time.
MAX_RENDERED_HTML = 262_144

_MEDIA = ("image/", "audio/", "video/")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \t\r\n"
_TEXTS = ("text/plain", "text/html")
_TAG = re.compile(r"<(?:style|script)\b[^>]*>.*?</(?:style|script)\s*>|<[^<>]*>", re.DOTALL | re.IGNORECASE)
_QUOTE_DEPTH = re.compile(r">*")


class Bodies:
    """The leaves of a mail sorted into text body, HTML body and attachments, as RFC 8621 section 4.1.4 has it."""

    def __init__(self, root: Part) -> None:
        self.text: list[Part] = []
        self.html: list[Part] = []
        self.attachments: list[tuple[Part, str]] = []
        self.sort([root], "mixed", False, self.text, self.html)

    def sort(
        self, parts: list[Part], parent: str, inside: bool, text: list[Part] | None, page: list[Part] | None
    ) -> None:
        """Sort siblings; `inside` a multipart/alternative, a list that is None belongs to the other representation."""
        text_before, page_before = len(text or ()), len(page or ())
        for number, part in enumerate(parts):
            if part.children:
                kind = part.content_type.removeprefix("multipart/")
                self.sort(part.children, kind, inside or kind == "alternative", text, page)
            elif not self.is_shown(part, number, parent):
                self.attachments.append((part, parent))
            elif parent == "alternative":
                self.add_alternative(part, text, page)
            else:
                text, page = self.add_shown(part, inside, text, page)
        if parent == "alternative" and text is not None and page is not None:
            _share_only_representation(text, page, text_before, page_before)

    def is_shown(self, part: Part, number: int, parent: str) -> bool:
        """Whether a reader would show this leaf in the body rather than in the list of attachments."""
        if part.disposition == "attachment" or not shows_as_text(part):
            return False
        return number == 0 or (parent != "related" and not _declared_name(part))

    def add_alternative(self, part: Part, text: list[Part] | None, page: list[Part] | None) -> None:
        chosen = text if shown_type(part) == "text/plain" else page
        if chosen is not None:
            chosen.append(part)

    def add_shown(
        self, part: Part, inside: bool, text: list[Part] | None, page: list[Part] | None
    ) -> tuple[list[Part] | None, list[Part] | None]:
        if inside:
            text, page = (text, None) if shown_type(part) == "text/plain" else (None, page)
        for chosen in (text, page):
            if chosen is not None:
                chosen.append(part)
        return text, page


def _share_only_representation(text: list[Part], page: list[Part], text_before: int, page_before: int) -> None:
    """An alternative that has one representation only gives it to both bodies."""
    if len(text) == text_before and len(page) != page_before:
        text += page[page_before:]
    elif len(page) == page_before and len(text) != text_before:
        page += text[text_before:]


def shown_type(part: Part) -> str:
    """The type to show a leaf as: a multipart that could not be cut is shown as the text that it is."""
    return "text/plain" if part.content_type.startswith("multipart/") else part.content_type


def shows_as_text(part: Part) -> bool:
    return shown_type(part) in _TEXTS


# -- texts ---------------------------------------------------------------------------------------------------------


def body_text(bodies: Bodies, cutter: Cutter) -> str:
    """The text parts one after the other, HTML among them rendered, lines ended by LF.

    Where they hold nothing to read, the HTML is rendered: senders who think of HTML only leave an empty text beside it.
    """
    text = _join([_plain(part, cutter) for part in bodies.text])
    if text.strip():
        return text
    return _join([_plain(part, cutter) for part in bodies.html]) or text


def body_html(bodies: Bodies, cutter: Cutter) -> str:
    """The HTML parts one after the other, plain text among them as <pre>; "" when there is no HTML at all."""
    if all(shown_type(part) == "text/plain" for part in bodies.html):
        return ""
    return _join([_page(part, cutter) for part in bodies.html])


def _join(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else "\n".join(text.rstrip("\n") for text in texts if text.strip())


def _plain(part: Part, cutter: Cutter) -> str:
    text = part_text(part, cutter)
    if shown_type(part) == "text/html":
        return rendered(text)
    return text


def _page(part: Part, cutter: Cutter) -> str:
    text = part_text(part, cutter)
    return text if shown_type(part) == "text/html" else f"<pre>{html.escape(text, quote=False)}</pre>"


def part_text(part: Part, cutter: Cutter) -> str:
    """The decoded text of a leaf with LF line ends; format=flowed is undone (RFC 3676)."""
    charset = part.parameters.get("charset", "")
    if charset and not codec_for(charset):
        cutter.flags["charset_unknown"] = None
    text = decode_text(content_of(part, cutter), charset)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if part.parameters.get("format", "").lower() == "flowed" and shown_type(part) == "text/plain":
        return unflowed(text, part.parameters.get("delsp", "").lower() == "yes")
    return text


def unflowed(text: str, delete_space: bool = False) -> str:
    """Soft line breaks of format=flowed joined, quote marks kept (RFC 3676 section 4)."""
    lines: list[str] = []
    pieces: list[str] = []
    depth = 0
    for line in text.split("\n"):
        marks = _QUOTE_DEPTH.match(line)
        level = len(marks[0]) if marks else 0
        content = line[level:].removeprefix(" ")
        if pieces and level != depth:  # a change of depth ends a paragraph whatever it ended with
            lines.append(_flowed_line(depth, pieces))
            pieces = []
        depth = level
        soft = content.endswith(" ") and content != "-- "
        pieces.append(content[:-1] if soft and delete_space else content)
        if not soft:
            lines.append(_flowed_line(depth, pieces))
            pieces = []
    return "\n".join([*lines, _flowed_line(depth, pieces)] if pieces else lines)


def _flowed_line(depth: int, pieces: list[str]) -> str:
    return (">" * depth + " " if depth else "") + "".join(pieces)


def rendered(page: str) -> str:
    """HTML as plain text, by layout where that works and by leaving the tags out where not. Never raises."""
    page = page[:MAX_RENDERED_HTML]
    try:
        return str(get_text(page)).strip("\n") + "\n"
    except Exception:  # lxml and inscriptis raise on some of what mail calls HTML, and recurse on deep nesting
        return html.unescape(_TAG.sub(" ", page))


# -- bytes ---------------------------------------------------------------------------------------------------------


def content_of(part: Part, cutter: Cutter) -> bytes:
    """The bytes of a leaf with its transfer encoding undone (RFC 2045 section 6); an unknown one leaves them be."""
    raw = cutter.raw[part.start : part.end]
    encoding = part.encoding
    if encoding == "base64":
        if raw.translate(None, _BASE64):
            cutter.flags["encoding_broken"] = None
        return decode_base64(raw)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw)
    if encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
        return _uudecoded(raw)
    if encoding not in ("", "7bit", "8bit", "binary"):
        cutter.flags["encoding_unknown"] = None
    return raw


def _uudecoded(raw: bytes) -> bytes:
    begin = re.search(rb"^begin [0-7]{3,4} .*\n", raw, re.MULTILINE)
    if begin is None:
        return raw
    content: list[bytes] = []
    for line in raw[begin.end() :].splitlines():
        if line == b"end":
            break
        content.append(_uu_line(line))
    return b"".join(content)


def _uu_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        # Broken encoders pad a line with one character too many; its first character tells the length.
        length = (((line[0] - 32) & 63) * 4 + 5) // 3
        try:
            return binascii.a2b_uu(line[:length])
        except binascii.Error:
            return b""


# -- attachments ---------------------------------------------------------------------------------------------------


def attachments(bodies: Bodies, cutter: Cutter) -> tuple[ParsedAttachment, ...]:
    return tuple(
        _attachment(part, parent, number, cutter) for number, (part, parent) in enumerate(bodies.attachments, start=1)
    )


def _attachment(part: Part, parent: str, number: int, cutter: Cutter) -> ParsedAttachment:
    return ParsedAttachment(
        filename=_filename(part, number, cutter),
        content_type=part.content_type,
        content=content_of(part, cutter),
        content_id=part.content_id,
        disposition=_disposition(part, parent),
    )


def _disposition(part: Part, parent: str) -> str:
    referred_to = part.content_id and (parent == "related" or part.content_type.startswith(_MEDIA))
    return "inline" if part.disposition == "inline" or (referred_to and not part.disposition) else "attachment"


def _declared_name(part: Part) -> str:
    name = part.disposition_parameters.get("filename") or part.parameters.get("name", "")
    return header_text(name) if name else ""


def _filename(part: Part, number: int, cutter: Cutter) -> str:
    name = safe_name(_declared_name(part))
    if part.content_type == "message/rfc822" and not name:
        return _name_of_forwarded(part, cutter)
    return name or made_up_name(part.content_type, number)


def _name_of_forwarded(part: Part, cutter: Cutter) -> str:
    headers, _ = cutter.read_header(part.start, part.end)
    subject = next((value for name, value in headers if name.lower() == "subject"), "")
    # A subject is prose: a slash in it separates no folders.
    name = safe_name(re.sub(r"[/\\]", "_", header_text(subject))[:140])
    return (name or "message") + extension_for(part.content_type)
