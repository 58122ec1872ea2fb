"""The big mail hosts: Google (Gmail, Groups, Workspace), Yahoo, GMX, 1&1, Zoho."""

import re

from delivery.inbound.reports.addresses import first_address, is_address
from delivery.inbound.reports.codes import find_command, find_reply, find_status, reason_of
from delivery.inbound.reports.dialects.shapes import RETURNED, RETURNED_HEADER, between, done, guess, lines_behind
from delivery.inbound.reports.entries import MAX_SAID, Entries, Entry, Reading
from delivery.inbound.reports.fields import FieldReader, starting_with
from delivery.inbound.reports.text import Mail, aligned, cut, swept

_GMAIL_STATES = {
    "6": ("MAIL", "systemerror"),
    "8": ("AUTH", "systemerror"),
    "9": ("AUTH", "systemerror"),
    "12": ("AUTH", "norelaying"),
    "13": ("EHLO", "blocked"),
    "14": ("RCPT", "userunknown"),
    "15": ("DATA", "filtered"),
    "17": ("DATA", "filtered"),
    "18": ("DATA", "filtered"),
}
_GMAIL_WORDS = {
    "expired": [
        "DNS Error: Could not contact DNS servers",
        "Delivery to the following recipient has been delayed",
        "The recipient server did not accept our requests to connect",
    ],
    "hostunknown": ["DNS Error: Domain name not found", "DNS Error: DNS server returned answer with no data"],
}
_WORKSPACE_WORDS = {
    "userunknown": ["because the address couldn't be found. Check for typos or unnecessary spaces and try again."],
    "notaccept": ["Null MX"],
    "networkerror": [" had no relevant answers.", " responded with code NXDOMAIN"],
}
_ORIGINAL = "----- Original message -----"


def _is_of_google(mail: Mail) -> bool:
    return mail["from"].endswith("<mailer-daemon@googlemail.com>") and mail["subject"].startswith(
        "Delivery Status Notification"
    )


def gmail(mail: Mail) -> Reading | None:
    if not _is_of_google(mail):
        return None
    report, returned = cut(mail.body, (_ORIGINAL, "----- Message header follows -----"))
    entries = Entries()
    for line in lines_behind(report, starting_with("Delivery to the following recipient"), inclusive=True):
        if line.startswith(" ") and "@" in line:
            recipient = first_address(line.rpartition(" ")[2])
            if is_address(recipient):
                entries.begin(recipient)
        else:
            entries.last.diagnosis += f"{line} "
    if not entries.found:
        return None
    for entry in entries:
        entry.diagnosis = swept(entry.diagnosis)
        _conclude_gmail(entry)
    return Reading(entries, returned)


def _conclude_gmail(entry: Entry) -> None:
    said = entry.diagnosis
    if aligned(said, (" by ", ". [", "]. ")):
        start, stop = said.rfind(" by ") + 4, said.rfind(". [")
        host, address = said[start:stop], said[stop + 3 : said.rfind("]. ")]
        entry.rhost = host if host[-1:].isalpha() else address
    state = said.rpartition(" ")[2].partition(")")[0]
    if state in _GMAIL_STATES:
        entry.command, entry.reason = _GMAIL_STATES[state]
    else:
        guess(entry, _GMAIL_WORDS)
    if entry.reason:
        entry.status = find_status(said)
        if entry.status and ".0" not in entry.status:
            entry.reason = reason_of(entry.status)


def google_groups(mail: Mail) -> Reading | None:
    if not _is_of_google(mail) or not mail["x-failed-recipients"] or "x-google-smtp-source" not in mail.head:
        return None
    report, returned = cut(mail.body, (_ORIGINAL,))
    said = swept(" ".join(report.split("\n\n", 4)[:4]).replace("\n", " "))
    reason = "rejected" if len(re.findall(r"^ ?\* ?", report, re.MULTILINE)) == 4 else "onhold"
    entries = Entries()
    for recipient in mail["x-failed-recipients"].split(",")[:1000]:
        if is_address(recipient.strip()):
            entry = entries.begin(recipient.strip())
            entry.reason, entry.diagnosis = reason, said
    return Reading(entries, returned) if entries.found else None


def google_workspace(mail: Mail) -> Reading | None:
    if not _is_of_google(mail) or "x-gm-message-state" not in mail.head:
        return None
    report, returned = cut(mail.body, (RETURNED, RETURNED_HEADER))
    reader, notice = FieldReader(), _WorkspaceNotice()
    for line, _ in reader.walk(report, starting_with("** "), inclusive=True):
        notice.hear(reader.entries.last, line)
    if not reader.entries.found:
        return None
    for entry in reader.entries:
        entry.fill(reader.of_all)
        notice.complete(entry)
        entry.diagnosis = swept(entry.diagnosis)
        guess(entry, _WORKSPACE_WORDS)
    return Reading(reader.entries, returned)


class _WorkspaceNotice:
    """The page that a person reads, above the fields."""

    def __init__(self) -> None:
        self.said = ""
        self.is_over = False
        self.blank = 0

    def hear(self, entry: Entry, line: str) -> None:
        if not self.is_over and entry.diagnosis:
            if not line:
                self.is_over = True
            elif line.startswith(" "):
                entry.diagnosis += line
        elif line.startswith(("The response was:", "The response from the remote server was:")):
            self.said = f"{self.said} {line}"[:MAX_SAID]
        elif line.startswith("Content-Type:"):
            return
        elif self.said:
            if not line:
                self.blank += 1
            elif self.blank <= 5:
                self.said = f"{self.said} {line}"[:MAX_SAID]
        elif line.startswith("** "):
            self.said = line

    def complete(self, entry: Entry) -> None:
        if not self.said:
            return
        entry.diagnosis = entry.diagnosis or self.said
        if " " not in entry.diagnosis and entry.diagnosis[:1].isdigit():
            entry.diagnosis = self.said
            return
        status = reply = ""
        if not entry.status or entry.status.startswith(("4.0.0", "5.0.0")):
            status = find_status(self.said)
            if status and not status.endswith("0.0"):
                entry.status = status
        if not entry.reply or entry.reply.startswith(("400", "500")):
            reply = find_reply(self.said)
            if reply and not reply.endswith("00"):
                entry.reply = reply
        if (status or reply) and len(self.said) > len(entry.diagnosis):
            entry.diagnosis = self.said


def yahoo(mail: Mail) -> Reading | None:
    if "x-ymailisg" not in mail.head:
        return None
    report, returned = cut(mail.body, ("--- Below this line is a copy of the message.",))
    entries = Entries()
    for line in lines_behind(report, starting_with("Sorry, we were unable to deliver your message")):
        entry = entries.last
        if line.startswith("<") and aligned(line, ("<", "@", ">:")):
            entries.begin(first_address(line.partition(">:")[0] + ">"))
        elif line.startswith("Remote host said:"):
            entry.diagnosis = line
            entry.command = find_command(line)
        elif entry.diagnosis.startswith("Remote host said:"):
            if command := find_command(line):
                entry.command = command
            else:
                entry.diagnosis = line
        else:
            entry.diagnosis += f" {line}"
    for entry in entries:
        entry.diagnosis = entry.diagnosis.replace("\\n", " ")
        if not entry.command and aligned(entry.diagnosis, ("<", "@", ">")):
            entry.command = "RCPT"
    return done(entries, returned)


_HEADER_FOLLOWS = "--- The header of the original message is following. ---"


def gmx(mail: Mail) -> Reading | None:
    if "x-gmx-antispam" not in mail.head:
        return None
    report, returned = cut(mail.body, (_HEADER_FOLLOWS,))
    entries = Entries()
    for line in lines_behind(report, starting_with("This message was created automatically by mail delivery software")):
        entry = entries.last
        if "@" in line and line.startswith(('"', "<")):
            entries.begin(first_address(line))
        elif line.startswith("SMTP error "):
            entry.command = find_command(line)
        elif line.startswith("host:"):
            entry.rhost = line[6:]
        elif find_status(line) or aligned(line, ("<", "@", ">")):
            entry.diagnosis = entry.diagnosis or line
        elif line.startswith("Reason:") or entry.diagnosis == "Reason:":
            entry.diagnosis = line
    return done(entries, returned, {"expired": ["delivery retry timeout exceeded"]})


_ONLY_ADDRESS = re.compile(r"\A\s*([^ ]+@[^ ]+?):?\Z")


def einsundeins(mail: Mail) -> Reading | None:
    if not mail["from"].startswith('"Mail Delivery System"'):
        return None
    if mail["subject"] != "Mail delivery failed: returning message to sender":
        return None
    report, returned = cut(mail.body, (_HEADER_FOLLOWS,))
    entries, opening = Entries(), "For the following reason:"
    for line in lines_behind(report, starting_with("This message was created automatically by mail delivery software")):
        entry = entries.last
        if "@" in line and len(line) < 400 and _ONLY_ADDRESS.match(line):
            entries.begin(first_address(line))
        elif line.startswith(opening):
            entry.diagnosis = line
        elif entry.diagnosis:
            entry.diagnosis += f" {line}"
        else:
            entry.other += f" {line}"
    for entry in entries:
        entry.diagnosis = entry.diagnosis or entry.other
        entry.command = find_command(entry.diagnosis)
        if aligned(entry.diagnosis, ("host: ", " reason:")):
            entry.rhost = swept(between(entry.diagnosis, "host: ", " reason:"))
            entry.command = "DATA" if "for TEXT command" in entry.diagnosis else entry.command
            entry.spec = "SMTP" if "SMTP error" in entry.diagnosis else entry.spec
            entry.status = find_status(entry.diagnosis)
        else:
            entry.diagnosis = entry.diagnosis[len(opening) :]
    return done(entries, returned, {"mesgtoobig": ["Mail size limit exceeded"]})


def zoho(mail: Mail) -> Reading | None:
    if "x-zohomail" not in mail.head:
        return None
    report, returned = cut(mail.body, ("Received: from mail.zoho.com by mx.zohomail.com",))
    entries, goes_on = Entries(), False
    for line in lines_behind(report, starting_with("This message was created automatically by mail delivery")):
        if aligned(line, ("@", " ", "ERROR_CODE :")):
            recipient, _, said = line.partition(" ")
            goes_on = goes_on or said.endswith("=")
            entries.begin(recipient).diagnosis = said.removesuffix("=")
        elif line.startswith("[Status: "):
            entries.begin(first_address(line[line.find("<") :])).diagnosis = line
        elif goes_on:
            entries.last.diagnosis += line
    return done(entries, returned, {"expired": ["Host not reachable"]})
