"""Raw mail in, a `Report` out: the one way that mailbot reads bounces, complaints and answers of programs.

`read_report` needs no database, never raises and takes linear time, whatever the bytes. How it decides, and whom it learnt from, is in
docs/decisions/0011-reports-by-mail.md; how well, in docs/bounces.md.
"""

import re

from delivery.inbound.reports.addresses import whole_address
from delivery.inbound.reports.codes import (
    better_status,
    find_reply,
    find_status,
    is_command,
    is_temporary,
    own_status,
)
from delivery.inbound.reports.complaints import Complaint, read_complaint
from delivery.inbound.reports.entries import MAX_SAID, Entry, Reading
from delivery.inbound.reports.fields import read_field
from delivery.inbound.reports.order import DIALECTS, order_for
from delivery.inbound.reports.reasons import Case, decide, is_hard
from delivery.inbound.reports.report import Kind, Recipient, Report
from delivery.inbound.reports.text import (
    Mail,
    cut_keeping_all,
    decoded,
    decoded_words,
    flat_body,
    read_header,
    split_mail,
    swept,
)

MAX_IDS = 10
MAX_ADDRESS = 320  # characters: 64 of a local part, @, and 255 of a domain
_EMBEDDED = ("Content-Type: message/rfc822", "Content-Type: text/rfc822-headers")
_FORWARDED = ("fwd:", "fw:")
_MESSAGE_ID = re.compile(r"^[ >]*(?:X-)?(?:Original-)?Message-ID:\s*(<[^<>\s]{1,998}>)", re.IGNORECASE | re.MULTILINE)
_REPORTING = re.compile(r"^Reporting-MTA: *[\w-]+; *(\S{1,255})", re.MULTILINE)
_LATE = (
    "warning:",
    "delayed",
    "delay)",
    "(delay",
    "still being retried",
)  # in the subject of what waits and is not lost
_ACTIONS = ("delayed", "delivered", "expanded", "failed", "relayed")
_ADDRESS4 = re.compile(r"\A\d{1,3}(?:\.\d{1,3}){3}\Z")


def read_report(raw: bytes) -> Report | None:
    """What the mail reports, or None when it is no report."""
    try:
        return _read(decoded(raw))
    except (
        Exception
    ):  # a report that cannot be read is a mail like others; the promise holds for defects of our own too
        return None


def _read(text: str) -> Report | None:
    for _ in range(2):  # a report may come inside another mail
        parts = split_mail(text)
        if parts is None:
            return None
        mail, body = _mail(*parts)
        if report := _report(mail):
            return report
        if not any(sign in body for sign in _EMBEDDED):
            return None
        text = cut_keeping_all(body, _EMBEDDED)[1]
        if len(text) <= 128:
            return None
    return None


def _mail(header: str, body: str) -> tuple[Mail, str]:
    head, received = read_header(header)
    subject = decoded_words(head["subject"])
    if any(sign in subject.lower() for sign in _FORWARDED):
        subject = swept(subject.partition(":")[2])
        body = re.sub(r"^>+(?: |$)", "", body, flags=re.MULTILINE)
    head["subject"] = subject
    flat = flat_body(head.get("content-type", ""), head.get("content-transfer-encoding", ""), body)
    return Mail(head, received, flat), body


def _report(mail: Mail) -> Report | None:
    for name in order_for(mail["subject"]):
        if name == "RFC3834" and (complaint := read_complaint(mail)):
            return _of_complaint(mail, complaint)
        reading = DIALECTS[name](mail)
        if reading is not None:
            return _of_reading(mail, reading, reading.agent or name)
    return None


def _of_complaint(mail: Mail, complaint: Complaint) -> Report:
    return Report(
        Kind.COMPLAINT,
        complained=tuple(complaint.recipients),
        feedback_type=complaint.kind,
        message_ids=_message_ids(mail, complaint.returned),
        returned=_fields(complaint.returned),
        reporting_mta=_reporting_mta(mail),
        dialect="ARF",
    )


def _of_reading(mail: Mail, reading: Reading, dialect: str) -> Report | None:
    recipients = [recipient for entry in reading.entries if (recipient := _recipient(mail, entry))]
    if not recipients:
        return None
    answered = all(recipient.reason == "vacation" for recipient in recipients)
    return Report(
        Kind.AUTO_REPLY if answered else Kind.BOUNCE,
        recipients=tuple(recipients),
        message_ids=_answered_ids(mail) if answered else _message_ids(mail, reading.returned),
        returned=_fields(reading.returned),
        reporting_mta=_reporting_mta(mail),
        dialect=dialect,
    )


def _recipient(mail: Mail, entry: Entry) -> Recipient | None:
    address = whole_address(entry.recipient.strip())
    if not 5 <= len(address) <= MAX_ADDRESS:
        return None
    _choose_codes(entry)
    case = _case(mail, entry, address)
    case.reason = decide(case)
    subject = mail["subject"].lower()
    return _told(entry, case, address, is_late=any(word in subject for word in _LATE))


def _choose_codes(entry: Entry) -> None:
    """Status and reply out of the fields and the words, and the words without the codes that stand on each of their lines."""
    said = entry.diagnosis
    if not said:
        return
    in_words = find_status(said)
    reply = find_reply(said, in_words)
    entry.status = better_status(entry.status, in_words, reply)
    if reply:
        entry.reply = entry.reply or reply
        if f"{reply}-" in said:
            said = _without_codes(said, reply, in_words)
    entry.diagnosis = swept(_without_page(said))


def _without_codes(said: str, reply: str, status: str) -> str:
    for sign in ("-", " "):
        said = said.replace(f"{reply}{sign}{status}", "").replace(f"{reply}{sign}", "")
    return f"{reply} {status} {said}" if said.find(reply) > 1 else said


def _without_page(said: str) -> str:
    small = said.lower()
    start, stop = small.find("<html>"), small.find("</html>")
    return said[:start] + said[stop + 7 :] if 0 <= start < stop else said


def _case(mail: Mail, entry: Entry, address: str) -> Case:
    spec = entry.spec or ("X-UNIX" if entry.reason == "mailererror" else "")
    if not spec and entry.reason not in ("feedback", "vacation"):
        spec = "SMTP"
    return Case(
        reason=entry.reason,
        status=entry.status,
        reply=entry.reply or find_reply(entry.diagnosis),
        command=entry.command if is_command(entry.command) else "",
        spec=spec,
        action=entry.action,
        diagnosis=entry.diagnosis,
        rhost=_host(entry.rhost or (_by(mail.received[-1]) if mail.received else "")),
        host=address.rpartition("@")[2],
    )


def _by(hop: str) -> str:
    """Who took the mail over, as a Received says."""
    words = hop.lower().split()
    named = [words[n + 1] for n, word in enumerate(words[:-1]) if word == "by"]
    return named[-1].strip("();") if named else ""


def _host(name: str) -> str:
    name = name.rpartition("@")[2].translate(str.maketrans("", "", "[]()")).rpartition("=")[2].strip()
    words = name.split()
    named = [word for word in words if not _ADDRESS4.match(word)]
    return (named or words or [""])[0].removesuffix(".")


def _told(entry: Entry, case: Case, address: str, is_late: bool) -> Recipient:
    reason, status, reply = case.reason, entry.status, case.reply
    is_hard_bounce = False
    if reason in ("feedback", "vacation"):
        reply = ""
    elif reason != "delivered":
        is_hard_bounce = is_hard(reason, status, entry.diagnosis)
    told = f"{entry.reply} {entry.diagnosis}"
    status = status or own_status(reason, len(told) >= 4 and is_temporary(told))
    if status[:1] != reply[:1]:
        reply = find_reply(entry.diagnosis, status)
        reply = reply if reply[:1] == status[:1] or not status else ""
    return Recipient(
        address=address,
        action=_action(entry.action, is_late, status),
        status=status,
        smtp_code="" if reason in ("feedback", "vacation") else reply,
        reason=reason,
        hard_bounce=is_hard_bounce,
        diagnostic=entry.diagnosis[:MAX_SAID],
        smtp_command=case.command,
        remote_mta=case.rhost,
        alias=entry.alias,
    )


def _action(action: str, is_late: bool, status: str) -> str:
    if action not in _ACTIONS and (found := read_field(f"Action: {action}")):
        action = found[2]
    if not action and is_late:
        return "delayed"
    return action or ("failed" if status[:1] in ("4", "5") else "")


def _fields(returned: str) -> dict[str, str]:
    fields, _ = read_header(returned) if returned.strip() else ({}, [])
    if fields.get("subject"):
        fields["subject"] = decoded_words(fields["subject"])
    return {name: value for name, value in fields.items() if value}


def _message_ids(mail: Mail, returned: str) -> tuple[str, ...]:
    ids = [match[1] for text in (returned, mail.body) for match in _MESSAGE_ID.finditer(text)]
    return tuple(dict.fromkeys(ids[:1000]))[:MAX_IDS]


def _answered_ids(mail: Mail) -> tuple[str, ...]:
    named = re.findall(r"<[^<>\s]{1,998}>", f"{mail['in-reply-to']} {mail['references']}"[:20_000])
    return tuple(dict.fromkeys(named))[:MAX_IDS]


def _reporting_mta(mail: Mail) -> str:
    match = _REPORTING.search(mail.body)
    return match[1] if match else ""


__all__ = ["Kind", "Recipient", "Report", "read_report"]
