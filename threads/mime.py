"""Raw mail in, a `ParsedMail` out: the one way that mailbot reads MIME.

`parse_mail` never raises and takes linear time, whatever the bytes. Why it is not built on the standard library's
parser, and how the two are held together, is in docs/decisions/0001-mime-parser.md.
"""

from __future__ import annotations

from threads.mime_bodies import Bodies, attachments, body_html, body_text
from threads.mime_headers import MAX_ADDRESSES, addresses, header_text, message_id, message_ids, sent_at
from threads.mime_structure import Cutter, RawHeader
from threads.mime_types import Address, ParsedAttachment, ParsedMail

__all__ = ["Address", "ParsedAttachment", "ParsedMail", "parse_mail"]

NOBODY = Address("", "")
ADDRESS_FIELDS = ("from", "to", "cc", "bcc", "reply-to")

# What a flag means to a user. Flags that are not here cost the reader nothing.
REASONS = {
    "unreadable": "The mail could not be read; its raw bytes are kept.",
    "no_headers": "The mail has no header.",
    "headers_capped": "The header is too large; only its beginning was read.",
    "addresses_capped": "There are too many addresses in one field; only the first ones were read.",
    "parts_capped": "The mail has too many parts; only the first ones were read.",
    "depth_capped": "Parts are nested too deeply; the innermost ones are shown unread.",
    "boundary_missing": "The boundary between the parts is missing; the parts are shown as text.",
    "encoding_broken": "A part is damaged: foreign characters stand in its base64.",
    "encoding_unknown": "A part has an unknown transfer encoding and is shown undecoded.",
}


def parse_mail(raw: bytes) -> ParsedMail:
    """Read a mail as it came over the wire (RFC 5322, MIME, RFC 6532). Never raises; what it can't read is flagged."""
    try:
        return _read(raw)
    except Exception:  # the promise holds for defects of our own too; the raw mail is kept elsewhere
        return _header_only(raw)


def _read(raw: bytes) -> ParsedMail:
    cutter = Cutter(raw)
    headers, root = cutter.cut()
    bodies = Bodies(root)
    text, page = body_text(bodies, cutter), body_html(bodies, cutter)
    attached = attachments(bodies, cutter)
    return _mail(headers, cutter, text, page, attached)


def _header_only(raw: bytes) -> ParsedMail:
    cutter = Cutter(raw, flags={"unreadable": None})
    try:
        headers, _ = cutter.read_header(0, len(raw))
        return _mail(headers, cutter, "", "", ())
    except Exception:
        return ParsedMail(degraded=REASONS["unreadable"], flags=("unreadable",))


def _mail(
    headers: list[RawHeader], cutter: Cutter, text: str, page: str, attached: tuple[ParsedAttachment, ...]
) -> ParsedMail:
    first, mailboxes = _by_name(headers, cutter)
    decoded = tuple((name, header_text(value)) for name, value in headers)
    flags = tuple(cutter.flags)
    return ParsedMail(
        message_id=message_id(first.get("message-id", "")),
        in_reply_to=message_ids(first.get("in-reply-to", "")),
        references=message_ids(first.get("references", "")),
        subject=next((value for name, value in decoded if name.lower() == "subject"), ""),
        sent_at=sent_at(first.get("date", "")),
        sender=next(iter(mailboxes["from"]), NOBODY),
        authors=mailboxes["from"],
        to=mailboxes["to"],
        cc=mailboxes["cc"],
        bcc=mailboxes["bcc"],
        reply_to=mailboxes["reply-to"],
        headers=decoded,
        body_text=text,
        body_html=page,
        attachments=attached,
        degraded=" ".join(REASONS[flag] for flag in flags if flag in REASONS),
        flags=flags,
    )


def _by_name(headers: list[RawHeader], cutter: Cutter) -> tuple[dict[str, str], dict[str, tuple[Address, ...]]]:
    """The first field of each name, and the mailboxes of the address fields, all repetitions of them together."""
    if not headers:
        cutter.flags["no_headers"] = None
    first: dict[str, str] = {}
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        name = name.lower()
        first.setdefault(name, value)
        if name in ADDRESS_FIELDS:
            fields.setdefault(name, []).append(value)
    return first, {name: _mailboxes(fields.get(name, []), cutter) for name in ADDRESS_FIELDS}


def _mailboxes(values: list[str], cutter: Cutter) -> tuple[Address, ...]:
    if not values:
        return ()
    found = addresses(values[0] if len(values) == 1 else ", ".join(values))
    if len(found) >= MAX_ADDRESSES:
        cutter.flags["addresses_capped"] = None
    return found
