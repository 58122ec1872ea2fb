"""Reports of senders who put what they know into fields (RFC 3464), each in a frame of his own."""

from delivery.inbound.reports.codes import find_command, find_reply, find_status, own_status, reason_of
from delivery.inbound.reports.dialects.shapes import RETURNED, RETURNED_HEADER, FieldDialect, guess, quoted_status
from delivery.inbound.reports.entries import Entry, Reading
from delivery.inbound.reports.fields import FieldReader, being, having, starting_with
from delivery.inbound.reports.text import Mail, cut, decoded_words, is_encoded

STATUS_PART = starting_with("Content-Type: message/delivery-status")
VAGUE = (".0.0", ".1.0")


def _finish_ses(entry: Entry) -> None:
    if entry.status.endswith(VAGUE):
        entry.status = quoted_status(entry) or entry.status
    entry.reply = entry.reply or find_reply(entry.diagnosis, entry.status)


def _finish_workmail(entry: Entry) -> None:
    if entry.status.endswith(VAGUE):
        entry.status = find_status(entry.diagnosis) or entry.status
    entry.reply = find_reply(entry.diagnosis)
    entry.reason = entry.reason or reason_of(entry.status)


def _finish_receiving_ses(entry: Entry) -> None:
    if entry.status.startswith(("5.0.0", "5.1.0", "4.0.0", "4.1.0")):
        entry.status = quoted_status(entry) or entry.status
    entry.reason = entry.reason or reason_of(entry.status)


def _finish_aol(entry: Entry) -> None:
    if not entry.status or entry.status.endswith(".0.0"):
        entry.status = find_status(entry.diagnosis)


def _finish_outlook(entry: Entry) -> None:
    if entry.diagnosis:
        return
    delayed = "Delivery to the following recipients has been delayed."
    failed = (
        "Unable to deliver message to the following recipients, due to being unable to connect successfully to the"
        " destination mail server."
    )
    entry.diagnosis = delayed if entry.action == "delayed" else failed


def _speaks_workmail(mail: Mail) -> bool:
    return bool(mail["x-ses-outgoing"]) and (mail["x-original-mailer"] or mail["x-mailer"]) == "Amazon WorkMail"


def _speaks_outlook(mail: Mail) -> bool:
    signs = (
        mail["subject"].startswith("Delivery Status Notification"),
        "x-message-delivery" in mail.head,
        "x-message-info" in mail.head,
        any(".hotmail.com" in hop for hop in mail.received),
    )
    return sum(signs) >= 2


amavis = FieldDialect(
    lambda mail: mail["from"].startswith('"Content-filter at '),
    starting_with("The message "),
    (RETURNED_HEADER,),
    {
        "spamdetected": [" - spam"],
        "virusdetected": [" - infected"],
        "contenterror": [" - bad header:"],
        "exceedlimit": [" - message size exceeds recipient"],
        "systemerror": [
            " - temporary mta failure on relaying",
            " - rejected by next-hop mta on relaying",
            " - unable to relay message back to mta",
        ],
    },
    any_case=True,
)
amazon_ses = FieldDialect(
    lambda mail: (
        not mail["x-mailer"].startswith("Amazon WorkMail")
        and ("x-aws-outgoing" in mail.head or "x-ses-outgoing" in mail.head)
    ),
    starting_with("The following message to <", "An error occurred while trying to deliver the mail"),
    words={"expired": ["Delivery expired"]},
    finish=_finish_ses,
)
amazon_workmail = FieldDialect(_speaks_workmail, being("Technical report:"), finish=_finish_workmail)
receiving_ses = FieldDialect(
    lambda mail: "x-ses-outgoing" in mail.head,
    being("This message could not be delivered."),
    (RETURNED_HEADER,),
    {
        "filtered": ["Mailbox does not exist"],
        "mesgtoobig": ["Message too large"],
        "mailboxfull": ["Mailbox full"],
        "contenterror": ["Message content rejected"],
    },
    finish=_finish_receiving_ses,
)
aol = FieldDialect(
    lambda mail: "x-aol-ip" in mail.head,
    STATUS_PART,
    words={
        "hostunknown": ["Host or domain name not found"],
        "notaccept": ["type=MX: Malformed or unexpected name server reply"],
    },
    finish=_finish_aol,
)
barracuda = FieldDialect(
    lambda mail: mail["subject"].endswith("our bulk email filter**"),
    starting_with("Your message to:"),
    (RETURNED_HEADER,),
)
message_labs = FieldDialect(
    lambda mail: (
        "x-msg-ref" in mail.head
        and "MAILER-DAEMON@messagelabs.com" in mail["from"]
        and mail["subject"].startswith("Mail Delivery Failure")
    ),
    STATUS_PART,
    (RETURNED_HEADER,),
    {
        "userunknown": ["542 ", " Rejected", "No such user"],
        "securityerror": ["Please turn on SMTP Authentication in your mail client"],
    },
)
outlook = FieldDialect(
    _speaks_outlook,
    starting_with("This is an automatically generated Delivery Status Notification"),
    words={
        "hostunknown": ["The mail could not be delivered to the recipient because the domain is not reachable"],
        "userunknown": ["Requested action not taken: mailbox unavailable"],
    },
    finish=_finish_outlook,
)

_POWERMTA_CATEGORY = {
    "bad-domain": "hostunknown",
    "bad-mailbox": "userunknown",
    "inactive-mailbox": "suspend",
    "message-expired": "expired",
    "no-answer-from-host": "networkerror",
    "policy-related": "policyviolation",
    "quota-issues": "mailboxfull",
    "routing-errors": "systemerror",
    "spam-related": "spamdetected",
}


def powermta(mail: Mail) -> Reading | None:
    if not mail["subject"].startswith("Delivery report"):
        return None
    report, returned = cut(mail.body, (RETURNED_HEADER,))
    reader = FieldReader()
    for line, _ in reader.walk(report, starting_with("Hello, this is the mail server on ")):
        if line.startswith("X-PowerMTA-BounceCategory: "):
            reader.entries.last.reason = _POWERMTA_CATEGORY.get(line.partition(": ")[2].strip(), "")
    return Reading(reader.complete(), returned) if reader.entries.found else None


def bigfoot(mail: Mail) -> Reading | None:
    if "@bigfoot.com>" not in mail["from"] and not any(".bigfoot.com" in hop for hop in mail.received):
        return None
    report, returned = cut(mail.body, ("Content-Type: message/partial",))
    reader, command, reply = FieldReader(), "", ""
    for line, is_below in reader.walk(report, starting_with("   ----- Transcript of session follows -----")):
        if line.startswith(">>> "):
            command = find_command(line)
        elif line.startswith("<<< "):
            reply = line[4:]
        elif is_below and line.startswith(" "):
            reader.fold(line)
    for entry in reader.complete():
        entry.command = command or ("EHLO" if reply else "")
    return Reading(reader.entries, returned) if reader.entries.found else None


_COURIER_WORDS = {
    "hostunknown": ["No such domain."],
    "systemerror": ["This domain's DNS violates RFC 1035."],
    "networkerror": ["DNS lookup failed."],
}


def courier(mail: Mail) -> Reading | None:
    if not (
        "Courier mail server at " in mail["from"]
        or "NOTICE: mail delivery status." in mail["subject"]
        or "WARNING: delayed mail." in mail["subject"]
        or mail["message-id"].startswith("<courier.")
    ):
        return None
    report, returned = cut(mail.body, (RETURNED, RETURNED_HEADER))
    reader, command = FieldReader(), ""
    for line, is_below in reader.walk(report, having("DELAYS IN DELIVERING YOUR MESSAGE", "UNDELIVERABLE MAIL")):
        if line.startswith(">>> "):
            command = find_command(line)
        elif is_below and line.startswith(" "):
            reader.fold(line)
    for entry in reader.complete():
        entry.command = entry.command or command
        guess(entry, _COURIER_WORDS)
    return Reading(reader.entries, returned) if reader.entries.found else None


_FACEBOOK_CODES = {
    "userunknown": "RCP-P1 INT-P1 INT-P3 INT-P4",
    "filtered": "RCP-P2 RCP-P3",
    "mesgtoobig": "MSG-P1 INT-P2",
    "contenterror": "MSG-P2 MSG-P3 POL-P6 POL-P7",
    "securityerror": "POL-P1 POL-P2 POL-P5",
    "notaccept": "POL-P3 POL-P4 POL-T1 POL-T2 POL-T3",
    "rejected": "DNS-P1 DNS-P2 DNS-T1 DNS-P3 DNS-T2",
    "systemerror": "CON-T1",
    "toomanyconn": "CON-T3",
    "suspend": "RCP-T4",
    "undefined": "RCP-T1 MSG-T1 CON-T2 CON-T4",
}


def facebook(mail: Mail) -> Reading | None:
    if mail["from"] != "Facebook <mailer-daemon@mx.facebook.com>":
        return None
    if mail["subject"] != "Sorry, your message could not be delivered":
        return None
    report, returned = cut(mail.body, ("Content-Disposition: inline",))
    reader = FieldReader()
    for line, is_below in reader.walk(report, being("This message was created automatically by Facebook.")):
        if is_below and line.startswith(" "):
            reader.fold(line.rpartition(" ")[2])
    for entry in reader.complete():
        position = entry.diagnosis.find("-")
        code = entry.diagnosis[max(position - 3, 0) : position + 3] if position > 0 else ""
        entry.reason = next((reason for reason, codes in _FACEBOOK_CODES.items() if code in codes.split()), "")
        if not entry.reason and code.startswith("INT-T"):
            entry.reason = "systemerror"
    return Reading(reader.entries, returned) if reader.entries.found else None


def sendgrid(mail: Mail) -> Reading | None:
    if mail["return-path"] != "<apps@sendgrid.net>" or mail["subject"] != "Undelivered Mail Returned to Sender":
        return None
    report, returned = cut(mail.body, (RETURNED,))
    reader, command = FieldReader(), ""
    for line, is_below in reader.walk(report, being("This is an automatically generated message from SendGrid.")):
        if found := find_command(line):
            command = found
        elif line.startswith("Diagnostic-Code: "):
            reader.entries.last.diagnosis = line.partition(":")[2].strip()
        elif is_below and line.startswith(" "):
            reader.fold(line)
    for entry in reader.complete():
        _finish_sendgrid(entry, command)
    return Reading(reader.entries, returned) if reader.entries.found else None


def _finish_sendgrid(entry: Entry, command: str) -> None:
    entry.command = command
    entry.reply = find_reply(entry.diagnosis)
    if entry.reply:
        entry.status = f"{entry.reply[0]}.0.0"
    if entry.status in ("5.0.0", "4.0.0"):
        entry.status = find_status(entry.diagnosis) or entry.status
    if entry.action == "expired":
        entry.reason = "expired"
        if not entry.status or entry.status.endswith(".0.0"):
            entry.status = own_status("expired")


def yandex(mail: Mail) -> Reading | None:
    if "x-yandex-uniq" not in mail.head or mail["from"] != "mailer-daemon@yandex.ru":
        return None
    report, returned = cut(mail.body, (RETURNED,))
    reader, commands = FieldReader(), []
    for line, is_below in reader.walk(report, starting_with("This is the mail system at host yandex.ru.")):
        if " (in reply to " in line or "command)" in line:
            if command := find_command(line):
                commands.append(command)
        elif is_below and line.startswith(" "):
            reader.fold(line)
    for entry, command in zip(reader.complete(), [*commands, *[""] * len(reader.entries)], strict=False):
        entry.command = entry.command or command or find_command(entry.diagnosis)
    return Reading(reader.entries, returned) if reader.entries.found else None


def mcafee(mail: Mail) -> Reading | None:
    if not mail["x-nai-header"].startswith("Modified by McAfee ") or mail["subject"] != "Delivery Status":
        return None
    report, returned = cut(mail.body, (RETURNED,))
    reader, said = _McAfeeReader(), ""
    for line, is_below in reader.walk(report, having("--- The following addresses had delivery problems ---")):
        address, bracket, behind = line.partition("<")[2].partition(">")
        if bracket and "@" in address and "(" in behind and ")" in behind:
            reader.entries.begin(address)
            said = behind.partition("(")[2]
        elif is_below and line.startswith(" "):
            reader.fold(line)
    for entry in reader.complete():
        entry.diagnosis = entry.diagnosis or said
        guess(entry, {"userunknown": [" User not exist", " unknown.", "550 Unknown user ", "No such user"]})
    return Reading(reader.entries, returned) if reader.entries.found else None


class _McAfeeReader(FieldReader):
    """The recipients stand in a list above the fields."""

    def _take(self, line: str) -> None:
        if "-Recipient:" not in line:
            super()._take(line)


def x5(mail: Mail) -> Reading | None:
    """An unknown server whose names are encoded words."""
    signs = (
        "NotificationRecipients" in mail["to"],
        "Mail Delivery Subsystem" in decoded_words(mail["from"]) and is_encoded(mail["from"]),
        "Mail Delivery Subsystem" in mail["subject"],
    )
    if sum(signs) < 2:
        return None
    _, found, behind = mail.body.partition(RETURNED)
    _, blank, behind = behind.partition("\n\n")
    if not found or not blank:
        return None
    report, returned = cut(behind, (RETURNED,))
    entries = FieldReader().all_of(report, STATUS_PART)
    return Reading(entries, returned) if entries.found else None
