"""From the octets of a report to the lines that dialects read: decoded, flattened, field names in one spelling.

Linear in the size of the mail: what is looked for is cut at fixed strings, and each expression below stops at the end of a line.
"""

import base64
import binascii
import quopri
import re
from dataclasses import dataclass, field
from email.header import decode_header, make_header

from threads.mime_charsets import codec_for, safe_text

MAX_OCTETS = 1_000_000  # what is read of a report; the returned mail is at its end
MAX_LINES = 20_000
MAX_PARTS = 200
MAX_WORDS = 2_000  # characters of a field that are looked at for encoded words
MAX_DEPTH = 5

# Fields whose names are brought into one spelling wherever they stand at the beginning of a line.
_STATUS_FIELDS = (
    "Action Arrival-Date Diagnostic-Code Final-Recipient Last-Attempt-Date Original-Recipient Received-From-MTA Remote-MTA"
    " Reporting-MTA Status X-Actual-Recipient X-Original-Message-ID"
).split()
_MAIL_FIELDS = (
    "Resent-Date From Sender Reply-To To Message-ID Subject Return-Path Received Date X-Mailer Content-Type"
    " Content-Transfer-Encoding Content-Description Content-Disposition"
).split()
_COMPLAINT_FIELDS = (
    "Feedback-Type User-Agent Version Original-Envelope-Id Original-Mail-From Arrival-Date Source-IP Incidents"
    " Authentication-Results Original-Rcpt-To Reported-Domain Reported-URI Received-Date"
).split()
_SPELLING = {name.lower(): name for name in [*_STATUS_FIELDS, *_MAIL_FIELDS, *_COMPLAINT_FIELDS]}
_PARAMETERS = frozenset({"Content-Type", *_STATUS_FIELDS})
_FIELD = re.compile(r"([\w-]+):[ ]*(.*)", re.DOTALL)
_ENCODED = re.compile(r"=\?[-\w]+\?[BbQq]\?[^?\n]*\?=")
_QUOTED = re.compile(r"\A>+ ")
_TAG = re.compile(r"<[^<@>]{1,5000}>\s*")
_LINK = re.compile(
    r"""<a\s+href\s*=\s*['"](https?://[^'"\n]{1,500})['"][^>\n]{0,500}>([^<\n]{0,500})</a>""", re.IGNORECASE
)
_MAILTO = re.compile(r"""<a\s+href\s*=\s*["']mailto:([^\s"']{1,300})["']>([^<\n]{0,500})</a>""", re.IGNORECASE)
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"), ("&nbsp;", " "), ("&quot;", '"'), ("&apos;", "'"))
_ENCODED_PART = re.compile(r"^Content-Transfer-Encoding: *(?:base64|quoted-printable)", re.IGNORECASE | re.MULTILINE)
_SIGNATURE = re.compile(r" --+[^ ].*\Z", re.DOTALL)


@dataclass(slots=True)
class Mail:
    """A report as dialects see it: fields by their names in small letters, and one text of all the parts that can be read."""

    head: dict[str, str]
    received: list[str] = field(default_factory=list)
    body: str = ""

    def __getitem__(self, name: str) -> str:
        return self.head.get(name, "")


def decoded(raw: bytes) -> str:
    """UTF-8 with unix line ends. What is neither, or NUL, is a question mark each: addresses and codes are ASCII."""
    text = raw[:MAX_OCTETS].decode("utf-8", "replace").replace("\ufffd", "?")
    return text.replace("\0", "?").replace("\r\n", "\n")


def split_mail(text: str) -> tuple[str, str] | None:
    """Header and body, without the parts that hold no words; None when one of the two is missing."""
    head, separator, body = text.lstrip().partition("\n\n")
    if not separator or not head:
        return None
    for kind, end in (("image/", "--\n"), ("application/", "--\n"), ("text/html", "</html>")):
        body = _without_parts(body, f"Content-Type: {kind}", end)
    return f"{head}\n", f"{body}\n"


def _without_parts(body: str, begin: str, end: str) -> str:
    kept, position = [], 0
    while (start := body.find(begin, position)) >= 0:
        stop = body.find(end, start + 32)
        if stop < 0:
            break
        kept.append(body[position:start])
        position = stop
    kept.append(body[position:])
    return "".join(kept)


def read_header(text: str) -> tuple[dict[str, str], list[str]]:
    """Fields by name in small letters, the last of each name; and all `Received`, top first."""
    head: dict[str, str] = {"subject": ""}
    received: list[str] = []
    for line in _unfolded(text):
        match = _FIELD.match(line)
        if not match:
            continue
        name, value = match[1].lower(), match[2]
        if name == "received":
            if " invoked by uid" not in value and " invoked from network" not in value:
                received.append(" ".join(value.split()))
        else:
            head[name] = value
    return head, received


def _unfolded(text: str) -> list[str]:
    lines: list[str] = []
    folded: list[str] = []
    for line in text.split("\n"):
        line = _QUOTED.sub("", line) if line.startswith(">") else line
        if line[:1] in (" ", "\t") and folded:
            folded.append(line.strip())
            continue
        if folded:
            lines.append(" ".join(folded))
        folded = [line]
    return [*lines, " ".join(folded)]


def decoded_words(value: str) -> str:
    """RFC 2047, as far as it can be read."""
    if len(value) > MAX_WORDS or "=?" not in value or not _ENCODED.search(value):
        return value
    try:
        return safe_text(str(make_header(decode_header(value.replace('"', "")))))
    except (LookupError, ValueError, UnicodeError):
        return value


def is_encoded(value: str) -> bool:
    return bool(_ENCODED.search(value))


def tidied(body: str) -> str:
    """Each known field that begins a line in one spelling, with one blank behind colon and semicolon."""
    lines = body.split("\n")
    tidy = []
    for number, line in enumerate(lines):
        name, colon, value = line.partition(":")
        spelt = _SPELLING.get(name.lower()) if colon else None
        if spelt is None:
            tidy.append(line)
            continue
        following = lines[number + 1] if number + 1 < len(lines) else ""
        tidy.append(f"{spelt}: {_tidy_value(spelt, value, following)}")
    return "\n".join(tidy).rstrip("\n") + "\n\n"


def _tidy_value(name: str, value: str, following: str) -> str:
    if name in _PARAMETERS:
        if ";" in value:
            pieces = [_tidy_piece(piece.strip()) for piece in value.rstrip(";").split(";")]
            if name == "Diagnostic-Code" and len(pieces) == 1 and following.startswith(" "):
                pieces.append("")
            value = "; ".join(pieces)
        elif not name.endswith(("-Date", "-Message-ID")):
            value = value.lower()
    if name == "Content-Type":
        value = value.replace("message/xdelivery-status", "message/delivery-status")
        value = value.replace("message/global-delivery-status", "message/delivery-status")
    return squeezed(value).strip()


def _tidy_piece(piece: str) -> str:
    if " " in piece:
        return piece
    name, equals, value = piece.partition("=")
    if equals and name.lower() == "boundary":
        return f"boundary={value}"
    return piece.lower()


def squeezed(text: str) -> str:
    return re.sub(r"  +", " ", text)


def swept(text: str) -> str:
    """One blank between words, and no signature of a MIME boundary behind them."""
    return _SIGNATURE.sub("", squeezed(text.rstrip("\n")).strip())


def aligned(text: str, pieces: tuple[str, ...]) -> bool:
    """Whether all the pieces stand in the text, in this order."""
    position = 0
    for piece in pieces:
        found = text.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def cut(text: str, boundaries: tuple[str, ...]) -> tuple[str, str]:
    """What stands before the first of the boundaries that is there, and the header of the returned mail behind it."""
    former, latter = cut_keeping_all(text, boundaries)
    head, blank, _ = latter.partition("\n\n")
    return former, f"{head}\n" if blank else latter


def cut_keeping_all(text: str, boundaries: tuple[str, ...]) -> tuple[str, str]:
    for boundary in boundaries:
        position = text.find(boundary) if boundary else -1
        if position >= 0:
            latter = text[position + len(boundary) + 1 :].lstrip()
            return text[:position], latter if not latter or latter.endswith("\n") else f"{latter}\n"
    return text, ""


def flat_body(mail_type: str, encoding: str, body: str) -> str:
    """All that is text or a report in the body, decoded, one part behind the other."""
    body = tidied(body)
    kind, encoding = mail_type.lower(), encoding.lower().strip()
    if kind.startswith(("text/plain", "text/html")):
        if encoding == "base64":
            body = _from_base64(body).decode("utf-8", "replace")
        elif encoding == "quoted-printable":
            body = _from_quoted(body).decode("utf-8", "replace")
        if kind.startswith("text/html;"):
            body = plain(body, always=True)
    elif kind.startswith("multipart/"):
        body = _flattened(mail_type, body) or body
    body = body.replace("\ufffd", "?").replace("\0", "?").replace("\r", "").replace("\t", " ")
    return body if body.count("\n") <= MAX_LINES else "\n".join(body.split("\n", MAX_LINES)[:MAX_LINES]) + "\n"


def parameter(value: str, name: str = "") -> str:
    if name:
        position = value.find(f"{name}=")
        if position < 0:
            return ""
        value = value[position + len(name) + 1 :]
    found = value.split(";", 1)[0].replace('"', "").replace("'", "").strip()
    return found if name == "boundary" else found.lower()


@dataclass(slots=True)
class _Part:
    kind: str = ""
    encoding: str = ""
    body: str = ""


def _flattened(mail_type: str, body: str) -> str:
    if "boundary=" not in mail_type or ("multipart/" not in mail_type and not _ENCODED_PART.search(body)):
        return ""  # who writes Multipart in capitals writes little else by the book, and is read as it stands
    shown = [_shown(part, mail_type) for part in _parts(mail_type, body, 0)]
    return "".join(text if text.endswith("\n\n") else f"{text}\n\n" for text in shown if text)


def _parts(mail_type: str, body: str, depth: int) -> list[_Part]:
    boundary = parameter(mail_type, "boundary")
    if not boundary or depth > MAX_DEPTH:
        return []
    pieces = body.split(f"--{boundary}\n", MAX_PARTS)
    pieces = pieces[1:] if len(pieces[0]) < 8 else pieces
    pieces = pieces[:-1] if pieces and len(pieces[-1]) < 8 else pieces
    parts: list[_Part] = []
    for piece in pieces:
        part = _part(piece)
        if "multipart/" in part.kind:
            if len(part.body) > 8 and parameter(part.kind, "boundary") in part.body:
                parts += _parts(part.kind, part.body, depth + 1)
        else:
            parts.append(part)
    if parts:
        parts[-1].body = parts[-1].body.partition(f"--{boundary}--")[0]
    return parts


def _part(piece: str) -> _Part:
    head, _, body = piece.partition("\n\n")
    if "Content-Type" not in head:
        return _Part(body=piece)
    part = _Part(body=body or f"{head}\n")  # without a blank line it is all header
    for line in head.split("\n"):
        if line.startswith("Content-Type:"):
            value = line.partition(":")[2].strip()
            part.kind = value if "boundary=" in value else value.lower()
        elif line.startswith("Content-Transfer-Encoding:"):
            part.encoding = line.partition(":")[2].strip().lower()
        elif part.kind and ("boundary=" in line or "charset=" in line):
            part.kind = f"{part.kind} {line.strip()}"
    return part


def _shown(part: _Part, mail_type: str) -> str:
    kind = parameter(part.kind) or "text/plain"
    if not kind.startswith(("text/", "message/")) or (kind == "text/html" and "multipart/alternative" in mail_type):
        return ""
    text = _decoded_part(part, kind)
    if text and any(report in kind for report in ("/delivery-status", "/feedback-report", "/rfc822")):
        return f"Content-Type: {kind}\n{text}"
    return text


def _decoded_part(part: _Part, kind: str) -> str:
    charset = parameter(part.kind, "charset")
    if part.encoding == "base64":
        text = _in_charset(_from_base64(part.body), charset)
    elif part.encoding == "quoted-printable":
        text = _in_charset(_from_quoted(part.body), charset)
    elif part.encoding == "7bit" and charset.startswith("iso-2022-"):
        text = _in_charset(part.body.encode("utf-8", "replace"), charset)
    else:
        text = part.body
    return plain(text) if kind == "text/html" and part.encoding else text


def _in_charset(octets: bytes, charset: str) -> str:
    """By a charset that mail may use: there are codecs that take quadratic time, and some that execute escapes."""
    try:
        text = octets.decode(codec_for(charset) or "utf-8", "replace")
    except (LookupError, ValueError):
        text = octets.decode("utf-8", "replace")
    return safe_text(text).replace("\r\n", "\n").replace("\ufffd", "?") + "\n\n"


def _from_base64(text: str) -> bytes:
    letters = re.sub(r"[^+/0-9A-Za-z]", "", text.strip().partition("\n\n")[0])
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4))
    except binascii.Error:
        return base64.b64decode(letters[: len(letters) // 4 * 4])


def _from_quoted(text: str) -> bytes:
    return quopri.decodestring(text.encode("utf-8", "replace"))


def plain(page: str, always: bool = False) -> str:
    """The words of a page."""
    small = page.lower()
    if not always and not ("<html" in small and "</html>" in small):
        return page
    page = _without_between(page, "<head>", "</head>")
    page = _without_between(page, "<style", "</style>")
    page = _LINK.sub(r"[\2](\1)", page)
    page = _MAILTO.sub(r"[\2](mailto:\1)", page)
    page = _TAG.sub(" ", page)
    for entity, character in _ENTITIES:
        page = page.replace(entity, character)
    return squeezed(page) + "\n"


def _without_between(page: str, begin: str, end: str) -> str:
    small = page.lower()
    start, stop = small.find(begin), small.rfind(end)
    return page[:start] + page[stop + len(end) :] if 0 <= start < stop else page
