"""Amazon SNS tells of bounces by mail too: JSON in the body, broken into lines."""

import json
from typing import Any

from delivery.inbound.reports.addresses import is_address
from delivery.inbound.reports.codes import find_status
from delivery.inbound.reports.entries import Entries, Reading
from delivery.inbound.reports.text import Mail

_REASONS = {("Transient", "MailboxFull"): "mailboxfull", ("Transient", "MessageTooLarge"): "mesgtoobig"}
MAX_RECIPIENTS = 1000


def amazon_sns(mail: Mail) -> Reading | None:
    if not mail.body.startswith("{") or not mail["x-amz-sns-message-id"]:
        return None
    try:
        told = _payload(mail.body)
        kind = told["notificationType"]
        entries = (
            _bounced(told["bounce"])
            if kind == "Bounce"
            else _delivered(told["delivery"])
            if kind == "Delivery"
            else None
        )
        return Reading(entries, _returned(told.get("mail") or {}), "SES") if entries and entries.found else None
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):  # whatever it is, it is not what SNS sends
        return None


def _payload(body: str) -> dict[str, Any]:
    pieces: list[str] = []
    is_folded = False
    for line in body.split("\n"):
        if line == "--":
            break
        line = line.lstrip() if is_folded else line
        is_folded = line.endswith("!")
        pieces.append(line.removesuffix("!"))
    told = json.loads("".join(pieces))
    told = json.loads(told["Message"]) if isinstance(told.get("Message"), str) else told
    if not isinstance(told, dict):
        raise ValueError("no notification")
    return told


def _bounced(bounce: dict[str, Any]) -> Entries:
    entries = Entries()
    for told in bounce["bouncedRecipients"][:MAX_RECIPIENTS]:
        if not is_address(told["emailAddress"]):
            continue
        entry = entries.begin(told["emailAddress"])
        entry.action, entry.status = str(told.get("action") or ""), str(told.get("status") or "")
        kind, _, said = str(told.get("diagnosticCode") or "").partition("; ")
        entry.spec, entry.diagnosis = (kind.upper(), said) if said else ("", kind)
        entry.lhost = str(bounce.get("reportingMTA") or "").partition("dsn; ")[2]
        entry.reason = _REASONS.get((bounce.get("bounceType"), bounce.get("bounceSubType")), "")  # type: ignore[arg-type]
    return entries


def _delivered(delivery: dict[str, Any]) -> Entries:
    entries = Entries()
    for recipient in delivery["recipients"][:MAX_RECIPIENTS]:
        if is_address(recipient):
            entry = entries.begin(recipient)
            entry.action = entry.reason = "delivered"
            entry.lhost = str(delivery.get("reportingMTA") or "")
            entry.diagnosis = str(delivery.get("smtpResponse") or "")
            entry.status = find_status(entry.diagnosis)
    return entries


def _returned(mail: dict[str, Any]) -> str:
    named = [(header["name"], header["value"]) for header in (mail.get("headers") or [])[:200]]
    lines = [f"{name}: {' '.join(str(value).split())}" for name, value in named]
    if mail.get("messageId") and not any(name.lower() == "message-id" for name, _ in named):
        lines.append(f"Message-ID: {mail['messageId']}")
    return "\n".join(lines) + "\n"
