"""Our reading of a mail and the expected one of the stalwart suite, in the same words, field by field."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

from threads.mime import Address, ParsedMail, parse_mail

FIELDS = ("subject", "from", "to", "text", "html", "attachment names", "attachment bytes")


@dataclass(frozen=True)
class Comparison:
    name: str
    field: str
    expected: Any
    ours: Any

    @property
    def agrees(self) -> bool:
        return bool(self.expected == self.ours)


def comparisons(answer: Path) -> list[Comparison]:
    """One comparison a field for an answer file, NAME.json or NAME.crlf.json, which both go with NAME.eml."""
    name = answer.name.removesuffix(".json").removesuffix(".crlf")
    raw = answer.with_name(f"{name}.eml").read_bytes().replace(b"\r\n", b"\n")
    if answer.name.endswith(".crlf.json"):
        raw = raw.replace(b"\n", b"\r\n")
    mail = parse_mail(raw)
    expected, ours = _expected(json.loads(answer.read_bytes()), raw, mail), _ours(mail)
    label = f"{answer.parent.name}/{answer.name.removesuffix('.json')}"
    return [Comparison(label, field, expected[field], ours[field]) for field in FIELDS]


def _ours(mail: ParsedMail) -> dict[str, Any]:
    return {
        "subject": mail.subject,
        "from": [_pair(mail.sender)] if mail.sender != Address("", "") else [],
        "to": [_pair(address) for address in mail.to],
        "text": mail.body_text.split(),
        "html": mail.body_html.replace("\r\n", "\n").strip(),
        "attachment names": [one.filename for one in mail.attachments],
        "attachment bytes": [one.content for one in mail.attachments],
    }


def _expected(tree: dict[str, Any], raw: bytes, mail: ParsedMail) -> dict[str, Any]:
    headers = {h["name"]: h["value"] for h in reversed(tree["parts"][0]["headers"]) if isinstance(h["name"], str)}
    attached = [tree["parts"][number] for number in tree["attachments"]]
    found = [one.filename for one in mail.attachments] + [""] * len(attached)
    return {
        "subject": headers.get("subject", {}).get("Text", ""),
        "from": _pairs(headers.get("from"))[:1],
        "to": _pairs(headers.get("to")),
        "text": " ".join(_words(tree["parts"][number]) for number in tree["text_body"]).split(),
        "html": _html([tree["parts"][number] for number in tree["html_body"]]),
        # The suite leaves a nameless attachment nameless; ours has a made-up name, which nothing can be held against.
        "attachment names": [_name(part) or ours for part, ours in zip(attached, found, strict=False)],
        "attachment bytes": [_content(part, raw) for part in attached],
    }


def _words(part: dict[str, Any]) -> str:
    """The words of a body part: whitespace is left to the reader, as it depends on format=flowed and on rendering."""
    body = part["body"]
    if "Html" in body:
        return unescape(re.sub(r"<(style|title)\b.*?</\1>|<!--.*?-->|<[^>]*>", " ", body["Html"], flags=re.S | re.I))
    return str(body.get("Text", ""))


def _html(parts: list[dict[str, Any]]) -> str:
    """As `body_html` has it: plain text among HTML as <pre>, nothing when there is no HTML."""
    bodies = [part["body"] for part in parts]
    if not any("Html" in body for body in bodies):
        return ""
    shown = [body for body in bodies if "Html" in body or "Text" in body]
    pages = [one["Html"].rstrip("\r\n") if "Html" in one else f"<pre>{one['Text']}</pre>" for one in shown]
    return "\n".join(pages).replace("\r\n", "\n").strip()


def _header(part: dict[str, Any], name: str) -> dict[str, Any]:
    found = [h["value"] for h in part["headers"] if h["name"] == name]
    value = found[0].get("ContentType") if found and isinstance(found[0], dict) else None
    return value or {}


def _attribute(part: dict[str, Any], header: str, name: str) -> str:
    for attribute in _header(part, header).get("attributes") or ():
        if attribute["name"] == name:
            return str(attribute["value"])
    return ""


def _name(part: dict[str, Any]) -> str:
    return _attribute(part, "content_disposition", "filename") or _attribute(part, "content_type", "name")


def _content(part: dict[str, Any], raw: bytes) -> bytes:
    """The suite gives text as decoded text, a forwarded message as a place in the mail, all else as bytes."""
    ((kind, body),) = part["body"].items()
    if kind == "Message":
        slice_ = raw[part["offset_body"] : part["offset_end"]]
        return b64decode(slice_) if _encoding(part) == "base64" else slice_
    if isinstance(body, str):
        return body.encode(_attribute(part, "content_type", "charset") or "utf-8", "replace")
    return bytes(body)


def _encoding(part: dict[str, Any]) -> str:
    found = [h["value"] for h in part["headers"] if h["name"] == "content_transfer_encoding"]
    return str(found[0]["Text"]).lower() if found else ""


def _pairs(value: dict[str, Any] | None) -> list[tuple[str, str]]:
    boxes = (value or {}).get("Address", {})
    listed = boxes.get("List") or [box for group in boxes.get("Group", ()) for box in group["addresses"]]
    return [(box["name"] or "", box["address"] or "") for box in listed]


def _pair(address: Address) -> tuple[str, str]:
    return address.name, address.address
