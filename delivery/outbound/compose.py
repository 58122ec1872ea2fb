"""From a message row to a mail: the bytes, the headers and the Message-ID are fixed here, once.

Source: RFC 5322 (headers, folding, References), RFC 2045–2047 and 2231 (MIME), RFC 6532 is not used: what leaves is ASCII.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

from mailbot.lib.addresses import AddressError, canonical_domain
from threads.mime import Address
from threads.mime_headers import header_text
from threads.models import Message

# RFC 5322 2.1.1: lines of at most 998 octets, better 78. A chain that no longer fits into a header keeps its root and its end.
MAX_REFERENCES = 50
ID_HEADERS = frozenset({"message-id", "in-reply-to", "references"})
WHOLE_WORDS = ID_HEADERS | {"list-unsubscribe"}  # of which no word may be broken or encoded
MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_SENDABLE_ID = re.compile(r"<(?!.*=\?)[!-;=?-~]{1,900}>")
_HEADER_LINE = re.compile(rb"([!-9;-~]+):|[ \t]")
MAX_DECODINGS = 5


class MailPolicy(policy.EmailPolicy):
    """The library would encode an id or an address that is longer than a line, which breaks the thread at the other end, or the link:
    these are folded between each other and never inside (RFC 5322 2.2.3)."""

    def fold(self, name: str, value: str) -> str:
        if name.lower() in WHOLE_WORDS:
            return f"{name}: " + f"{self.linesep} ".join(str(value).split()) + self.linesep
        return str(super().fold(name, value))

    def fold_binary(self, name: str, value: str) -> bytes:
        return (
            self.fold(name, value).encode("ascii", "surrogateescape")
            if name.lower() in WHOLE_WORDS
            else super().fold_binary(name, value)
        )


POLICY = MailPolicy(max_line_length=78, cte_type="7bit", linesep="\r\n")


@dataclass(frozen=True, slots=True)
class OutgoingAttachment:
    filename: str
    content_type: str
    content: bytes
    content_id: str = ""
    url: str = ""  # where the content is to be fetched from, before the mail leaves


def references_for_reply(parent: Message) -> list[str]:
    """The chain of a reply: the parent's References (or its In-Reply-To), then the parent. RFC 5322 3.6.4."""
    chain = list(parent.references) or [parent.in_reply_to]
    chain = [
        name
        for name in [*(name for name in chain if name != parent.message_id_header), parent.message_id_header]
        if is_sendable_id(name)
    ]
    return chain if len(chain) <= MAX_REFERENCES else [chain[0], *chain[-(MAX_REFERENCES - 1) :]]


def is_sendable_id(message_id: str) -> bool:
    """Foreign ids may hold anything: what is no printable ASCII in angle brackets cannot be repeated in a header of ours."""
    return _SENDABLE_ID.fullmatch(message_id) is not None


def reply_subject(subject: str) -> str:
    """`Re:` once, whatever stood there before."""
    return subject if subject.lower().startswith("re:") else f"Re: {subject}".rstrip()


def forward_subject(subject: str) -> str:
    return subject if subject.lower().startswith(("fwd:", "fw:")) else f"Fwd: {subject}".rstrip()


@dataclass(frozen=True, slots=True)
class Composed:
    """`raw` has CRLF line ends and no Bcc; `headers` are the same headers, decoded."""

    raw: bytes
    headers: list[list[str]]


def compose(
    message: Message,
    attachments: Sequence[OutgoingAttachment],
    extra_headers: dict[str, str],
    date: datetime,
    page: str | None = None,
) -> Composed:
    """The mail as it leaves; `page` in place of its HTML. Raises ValueError for what no header can hold."""
    mail = EmailMessage(policy=POLICY)
    mail["From"] = header_address(message.from_name, message.from_address)
    for name, people in (("To", message.to), ("Cc", message.cc), ("Reply-To", message.reply_to)):
        if people:
            mail[name] = [header_address(person["name"], person["address"]) for person in people]
    mail["Subject"] = literal(message.subject)
    mail["Date"] = format_datetime(date)
    mail["Message-ID"] = message.message_id_header
    if message.in_reply_to:
        mail["In-Reply-To"] = message.in_reply_to
    if message.references:
        mail["References"] = " ".join(message.references)
    for name, value in extra_headers.items():
        mail[name] = literal(value)
    _set_bodies(mail, message.body_text, message.body_html if page is None else page)
    for attachment in attachments:
        _attach(mail, attachment)
    raw = mail.as_bytes()
    _check_headers(raw, mail.keys())
    return Composed(raw, [[name, str(value)] for name, value in mail.items()])


def literal(text: str) -> str:
    """`text` without encoded words, decoded as a reader would show them.

    The library decodes an encoded word (RFC 2047) wherever it finds one and writes out what was in it, line ends too. So it must
    find none: text of a caller, or of a mail that is answered, would end the header and begin one of its own.
    """
    for _ in range(MAX_DECODINGS):
        if "=?" not in text:
            return text
        text = header_text(text)
    return text.replace("=?", "= ?")


def _check_headers(raw: bytes, names: Iterable[str]) -> None:
    """What stands in the mail is what was put in. Raises ValueError: no header may come out of the value of another one."""
    block = raw.partition(b"\r\n\r\n")[0]
    lines = [_HEADER_LINE.match(line) for line in re.split(rb"\r\n|\r|\n", block)]
    found = [line[1] for line in lines if line and line[1]]
    if not all(lines) or found != [name.encode("ascii", "replace") for name in names]:
        raise ValueError("A header has a line end in it.")


def header_address(name: str, address: str) -> HeaderAddress:
    """Names may hold any character but a line end; a domain goes out in A-labels."""
    local_part, _, domain = address.rpartition("@")
    try:
        domain = canonical_domain(domain)
    except AddressError as error:
        raise ValueError(str(error)) from error
    if "=?" in local_part:
        raise ValueError(f"“{local_part[:80]}” cannot be sent to: it reads as an encoded word.")
    return HeaderAddress(display_name=" ".join(literal(name).split()), username=local_part, domain=domain)


def _set_bodies(mail: EmailMessage, text: str, page: str) -> None:
    mail.set_content(text, cte=_encoding(text))
    if page:
        mail.add_alternative(page, subtype="html", cte=_encoding(page))


def _encoding(text: str) -> str:
    """7bit where text allows it, so that what people wrote stays readable in the raw mail."""
    plain = text.isascii() and all(len(line) < 990 for line in text.splitlines())
    return "7bit" if plain and "\r" not in text else "quoted-printable"


def _attach(mail: EmailMessage, attachment: OutgoingAttachment) -> None:
    maintype, _, subtype = attachment.content_type.partition("/")
    content_id = literal(attachment.content_id)
    inline: dict[str, Any] = {"cid": content_id, "disposition": "inline"} if content_id else {}
    if maintype in ("message", "multipart"):  # the library would want a parsed message: its bytes must stay as they are
        maintype, subtype = "application", "octet-stream"
    mail.add_attachment(
        attachment.content, maintype=maintype, subtype=subtype or "octet-stream", filename=attachment.filename, **inline
    )


def as_people(addresses: Iterable[Address]) -> list[dict[str, str]]:
    return [{"name": address.name, "address": address.address} for address in addresses]
