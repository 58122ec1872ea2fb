"""Complaints of recipients, which mailbox hosts send on: ARF (RFC 5965), and the forms of Microsoft and Apple."""

from dataclasses import dataclass, field

from delivery.inbound.reports.addresses import find_address, is_address
from delivery.inbound.reports.text import Mail, aligned

_MICROSOFT = ("staff@hotmail.com", "complaints@email-abuse.amazonses.com")
MAX_ADDRESSES = 500


@dataclass(slots=True)
class Complaint:
    """`recipients`: who complained, as far as it is told; most hosts hide it."""

    kind: str = "abuse"
    recipients: list[str] = field(default_factory=list)
    returned: str = ""
    agent: str = ""
    source: str = ""


def is_complaint(mail: Mail) -> bool:
    if aligned(mail["content-type"].lower(), ("report-type=", "feedback-report")):
        return True
    if mail["x-apple-unsubscribe"] == "true":
        return True
    return (
        "multipart/mixed" in mail["content-type"]
        and "complaint about message from " in mail["subject"]
        and any(sender in mail["from"].lower() for sender in _MICROSOFT)
    )


def read_complaint(mail: Mail) -> Complaint | None:
    if not is_complaint(mail):
        return None
    complaint = Complaint()
    returned: list[str] = []
    is_report = False
    for line in mail.body.split("\n"):
        if returned:
            _hear_returned(complaint, returned, line)
        elif line.startswith("Content-Type: message/feedback-report"):
            is_report = True
        elif line.startswith(("Content-Type: message/rfc822", "Content-Type: text/rfc822-headers")):
            returned.append("")
        elif is_report:
            _hear_field(complaint, line)
    complaint.returned = "\n".join(returned[1:]).strip().partition("\n\n")[0] + "\n"
    if not complaint.recipients and "x-hmxmroriginalrecipient" in complaint.returned.lower():
        complaint.kind = "abuse"
    if mail["x-apple-unsubscribe"] == "true":
        complaint.kind = "opt-out"
        _add(complaint, mail["from"])
    return complaint


def _hear_returned(complaint: Complaint, returned: list[str], line: str) -> None:
    returned.append(line)
    if line.startswith("X-HmXmrOriginalRecipient:"):
        _add(complaint, line.partition(":")[2])
        complaint.agent = "Microsoft Junk Mail Reporting Program"


def _hear_field(complaint: Complaint, line: str) -> None:
    name, _, value = line.partition(":")
    value = value.strip()
    match name.lower():
        case "original-rcpt-to" | "redacted-address":
            _add(complaint, value)
        case "feedback-type":
            complaint.kind = value.lower()[:40] or complaint.kind
        case "user-agent":
            complaint.agent = value[:200]
        case "source-ip":
            complaint.source = value[:45]


def _add(complaint: Complaint, text: str) -> None:
    address = find_address(text)
    told = complaint.recipients
    if is_address(address) and len(told) < MAX_ADDRESSES and address not in told:
        told.append(address)
