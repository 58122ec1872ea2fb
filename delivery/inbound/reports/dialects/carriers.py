"""Carriers of mobile phones, and internet providers: au (EZweb, KDDI), Biglobe, Verizon."""

from delivery.inbound.reports.addresses import first_address, is_address
from delivery.inbound.reports.codes import find_command
from delivery.inbound.reports.dialects.shapes import RETURNED, done, guess, lines_behind, with_field
from delivery.inbound.reports.entries import Entries, Entry, Reading
from delivery.inbound.reports.fields import being, having, is_field, read_field, starting_with
from delivery.inbound.reports.text import Mail, aligned, cut, parameter, swept

_EZWEB_WORDS = {
    "mailboxfull": ["The user(s) account is temporarily over quota"],
    "suspend": ["The user(s) account is disabled.", "The user(s) account is temporarily limited."],
    "expired": ["Your message was not delivered within "],
    "onhold": ["Each of the following recipients was rejected by a remote mail server"],
}
_EZWEB_PHRASES = [phrase for phrases in _EZWEB_WORDS.values() for phrase in phrases]


def ezweb(mail: Mail) -> Reading | None:
    if not _speaks_ezweb(mail):
        return None
    report, returned = cut(mail.body, ("-" * 50, RETURNED))
    entries = Entries()
    begins = having("The user(s) ", "Your message ", "Each of the following", "<")
    for line in lines_behind(report, begins, inclusive=True):
        _hear_ezweb(entries, line)
    if not entries.found:
        return None
    for entry in entries:
        entry.diagnosis = entry.diagnosis or entry.other
        if entry.other and (entry.diagnosis.startswith("-") or entry.diagnosis.endswith("__")):
            entry.diagnosis = entry.other
        entry.diagnosis = swept(entry.diagnosis)
        _conclude_ezweb(entry, mail)
    return Reading(entries, returned)


def _speaks_ezweb(mail: Mail) -> bool:
    signs = (
        "Postmaster@ezweb.ne.jp" in mail["from"],
        "Postmaster@au.com" in mail["from"],
        mail["subject"] == "Mail System Error - Returned Mail",
        any("ezweb.ne.jp (EZweb Mail) with" in hop for hop in mail.received),
        any(".au.com (" in hop for hop in mail.received),
        mail["message-id"].endswith((".ezweb.ne.jp>", ".au.com>")),
    )
    return sum(signs) >= 2


def _hear_ezweb(entries: Entries, line: str) -> None:
    entry = entries.last
    if aligned(line, ("<", "@", ">")) and ("Recipient: <" in line or line.startswith("<")):
        entries.begin(first_address(line))
    elif is_field(line):
        found = read_field(line)
        attribute = {"action": "action", "status": "status", "remote-mta": "rhost", "reporting-mta": "rhost"}
        if found and found[0] in attribute:
            setattr(entry, attribute[found[0]], found[2])
        elif found and found[0] == "diagnostic-code":
            entry.diagnosis = found[2]
    elif not line.isascii():
        return
    elif ">>> " in line:
        entry.command = find_command(line)
    elif any(phrase in line for phrase in _EZWEB_PHRASES):
        entry.diagnosis += f" {line}"
    else:
        entry.other += f" {line}"


def _conclude_ezweb(entry: Entry, mail: Mail) -> None:
    if mail["x-spasign"] == "NG":
        entry.reason = "filtered"
    elif entry.command == "RCPT":
        entry.reason = "userunknown"
    else:
        guess(entry, _EZWEB_WORDS)
    if not entry.reason and not entry.recipient.endswith(("@ezweb.ne.jp", "@au.com")):
        entry.reason = "userunknown"


_KDDI_WORDS = {
    "mailboxfull": ["As their mailbox is full"],
    "norelaying": ["Due to the following SMTP relay error"],
    "hostunknown": ["As the remote domain doesnt exist"],
}


def kddi(mail: Mail) -> Reading | None:
    if not (
        aligned(mail["from"], ("no-reply@.", ".dion.ne.jp"))
        or mail["reply-to"] == "no-reply@app.auone-net.jp"
        or any("ezweb.ne.jp (" in hop or ".au.com (" in hop for hop in mail.received)
    ):
        return None
    report, returned = cut(mail.body, (RETURNED,))
    entries = Entries()
    begins = starting_with("Your mail sent on:", "Your mail attempted to be delivered on:")
    for line in lines_behind(report, begins):
        if " Could not be delivered to: <" in line:
            recipient = first_address(line[line.find("<") :])
            if is_address(recipient):
                entries.begin(recipient)
        elif "Your mail sent on: " not in line and line.startswith(" "):
            entries.last.diagnosis += f"{line} "
    if not entries.found:
        return None
    for entry in entries:
        entry.diagnosis = swept(entry.diagnosis)
        entry.command = find_command(entry.diagnosis)
        if mail["x-spasign"] == "NG":
            entry.reason = "filtered"
        elif entry.command == "RCPT":
            entry.reason = "userunknown"
        else:
            guess(entry, _KDDI_WORDS)
    return Reading(entries, returned)


_BIGLOBE_HOSTS = tuple(f"@{name}.ne.jp" for name in ("biglobe", "inacatv", "tmtv", "ttv"))
_BIGLOBE_WORDS = {
    "filtered": ["Mail Delivery Failed... User unknown"],
    "mailboxfull": ["The number of messages in recipient's mailbox exceeded the local limit."],
}


def biglobe(mail: Mail) -> Reading | None:
    sender = mail["from"]
    if "postmaster@" not in sender or not any(host in sender for host in _BIGLOBE_HOSTS):
        return None
    if not mail["subject"].startswith("Returned mail:"):
        return None
    report, returned = cut(mail.body, (RETURNED,))
    entries = Entries()
    for line in lines_behind(report, being("   ----- The following addresses had delivery problems -----")):
        if "@" in line and " " not in line:
            if is_address(line):
                entries.begin(line)
        elif "--" not in line:
            entries.last.diagnosis += f"{line} "
    return done(entries, returned, _BIGLOBE_WORDS)


def verizon(mail: Mail) -> Reading | None:
    if not any(".vtext.com (" in hop for hop in mail.received):
        return None
    boundary = parameter(mail["content-type"], "boundary")
    report, returned = cut(mail.body, (f"--{boundary}--" if boundary else "",))
    if aligned(mail["from"], ("sysadmin@", ".vzwpix.com")):
        return _verizon_mms(report, returned)
    return _verizon_sms(report, returned) if mail["from"] == "post_master@vtext.com" else None


def _verizon_sms(report: str, returned: str) -> Reading | None:
    entries = Entries()
    for line in lines_behind(report, starting_with("Error: ")):
        if line.startswith("  RCPT TO: "):
            entries.begin(line[11:].strip())
        elif line.startswith("  MAIL FROM: "):
            returned = with_field(returned, "From", line[13:])
        elif line.startswith("  Subject: "):
            returned = with_field(returned, "Subject", line[11:])
        elif " - " in line:
            entries.last.diagnosis = line
    words = {"userunknown": ["550 - Requested action not taken: no such user here"]}
    return done(entries, returned, words)


def _verizon_mms(report: str, returned: str) -> Reading | None:
    entries = Entries()
    for line in lines_behind(report, starting_with("Message could not be delivered to mobile")):
        if line.startswith("To: "):
            entries.begin(first_address(line[4:]))
        elif line.startswith(("From: ", "Subject: ")):
            returned = with_field(returned, *line.split(": ", 1))
        elif line.startswith("Error: "):
            entries.last.diagnosis = swept(line[7:])
    return done(entries, returned, {"userunknown": ["No valid recipients for this MM"]})
