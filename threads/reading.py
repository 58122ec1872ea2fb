"""From raw bytes to what a message holds: everything that takes time and no database."""

import hashlib
import html
import re
from dataclasses import dataclass
from typing import Any

from mailbot.lib.addresses import comparable
from threads.extraction import find_codes, find_links, make_preview
from threads.mime import Address, ParsedMail, parse_mail
from threads.quoting import extract_new_html, extract_new_text

_TAG = re.compile(r"<[^<>]*>")
MAX_BODY = 2_000_000  # characters kept in the row; the raw mail has the rest


@dataclass(frozen=True, slots=True)
class MailContent:
    """A mail that has been read."""

    parsed: ParsedMail
    extracted_text: str
    extracted_html: str
    codes: list[str]
    links: list[str]
    preview: str

    @property
    def participants(self) -> list[str]:
        """Who takes part, in comparable form, without doubles: sender first."""
        parsed = self.parsed
        everybody = [parsed.sender, *parsed.reply_to, *parsed.to, *parsed.cc]
        return list(dict.fromkeys(comparable(address.address) for address in everybody if address.address))

    def columns(self) -> dict[str, Any]:
        """The columns of a Message that come out of the mail itself."""
        parsed = self.parsed
        return {
            "message_id_header": parsed.message_id,
            "message_id_digest": message_id_digest(parsed.message_id),
            "in_reply_to": parsed.in_reply_to[0] if parsed.in_reply_to else "",
            "references": list(parsed.references),
            "subject": parsed.subject,
            "from_address": parsed.sender.address,
            "from_name": parsed.sender.name,
            "to": as_json(parsed.to),
            "cc": as_json(parsed.cc),
            "bcc": as_json(parsed.bcc),
            "reply_to": as_json(parsed.reply_to),
            "headers": [list(header) for header in parsed.headers],
            "body_text": parsed.body_text[:MAX_BODY],
            "body_html": parsed.body_html[:MAX_BODY],
            "extracted_text": self.extracted_text,
            "extracted_html": self.extracted_html,
            "preview": self.preview,
            "codes": self.codes,
            "links": self.links,
            "degraded_reason": parsed.degraded,
            "sent_at": parsed.sent_at,
            "attachment_count": len(parsed.attachments),
        }

    def flags(self) -> list[str]:
        cut = len(self.parsed.body_text) > MAX_BODY or len(self.parsed.body_html) > MAX_BODY
        return [
            *(["degraded"] if self.parsed.degraded else []),
            *self.parsed.flags,
            *(["body_truncated"] if cut else []),
        ]


def read_mail(raw: bytes) -> MailContent:
    """Never raises, whatever the bytes are: what cannot be read is `degraded` in `parsed`."""
    return content_of(parse_mail(raw))


def content_of(parsed: ParsedMail) -> MailContent:
    new_text = extract_new_text(parsed.body_text[:MAX_BODY])
    new_html = extract_new_html(parsed.body_html[:MAX_BODY]) if parsed.body_html else ""
    return MailContent(
        parsed=parsed,
        extracted_text=new_text,
        extracted_html=new_html,
        codes=find_codes(parsed.subject, new_text) or _codes_of_page(parsed.subject, new_html),
        links=find_links(parsed.body_text[:MAX_BODY], parsed.body_html[:MAX_BODY]),
        preview=make_preview(new_text),
    )


def _codes_of_page(subject: str, page: str) -> list[str]:
    """Some verification mails have the code in the HTML only, beside a text that says that one needs to see the HTML."""
    return find_codes(subject, html.unescape(_TAG.sub(" ", page))) if page else []


def message_id_digest(message_id: str) -> str:
    """What a Message-ID is looked up by: 128 bits of BLAKE2b, or nothing for no id."""
    if not message_id:
        return ""
    return hashlib.blake2b(message_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def is_ours(message_id: str) -> bool:
    """Whether it looks like one that this server made, or another mailbot: only then it is worth a look."""
    return message_id.startswith("<m_")


def as_json(addresses: tuple[Address, ...]) -> list[dict[str, str]]:
    return [{"name": address.name, "address": address.address} for address in addresses]
