"""What the mail servers of Unix write: Sendmail (8 and 5), Postfix, qmail and its relatives, OpenSMTPD, DragonFly, Apache James."""

import re
from collections.abc import Iterator

from delivery.inbound.reports.addresses import find_address, first_address
from delivery.inbound.reports.codes import find_command, find_reply, find_status, is_status
from delivery.inbound.reports.dialects.shapes import (
    RETURNED,
    RETURNED_HEADER,
    between,
    done,
    guess,
    lines_behind,
    with_field,
)
from delivery.inbound.reports.entries import MAX_SAID, Entries, Entry, Reading
from delivery.inbound.reports.fields import FieldReader, having, starting_with
from delivery.inbound.reports.text import Mail, aligned, cut, swept

MAX_REPLIES = 100


def sendmail(mail: Mail) -> Reading | None:
    subject = mail["subject"]
    if "x-aol-ip" in mail.head or not (
        subject.endswith("see transcript for details") or subject.startswith("Warning: ")
    ):
        return None
    report, returned = cut(mail.body, (RETURNED, RETURNED_HEADER))
    talk = _SendmailTalk()
    reader = FieldReader()
    for line, is_below in reader.walk(report, starting_with("   ----- Transcript of session follows -----")):
        if not line.startswith(" "):
            talk.hear(line)
        elif is_below:
            reader.fold(line)
    if not reader.entries.found:
        return None
    for entry in reader.entries:
        entry.fill(reader.of_all)
        talk.complete(entry, is_only=reader.entries.found == 1)
    return Reading(reader.entries, returned)


class _SendmailTalk:
    """The transcript of the session above the fields."""

    def __init__(self) -> None:
        self.command = ""
        self.replies: list[str] = []
        self.said = ""
        self.status = ""
        self.is_over = False

    def hear(self, line: str) -> None:
        if line.startswith(">>> "):
            self.command = find_command(line)
        elif line.startswith("<<< "):
            if line[4:] not in self.replies and len(self.replies) < MAX_REPLIES:
                self.replies.append(line[4:])
        elif self.is_over:
            return
        elif line.startswith("... while talking to "):
            self.is_over = True
        elif line.startswith("<") and aligned(line, ("@", ">.", " ")):
            self.said = line.partition(" ")[2]
        else:
            self._hear_words(line)

    def _hear_words(self, line: str) -> None:
        reply, status = find_reply(line), find_status(line)
        self.said = self.said[:MAX_SAID]
        if len(reply) + len(status) > 7:
            self.status = status
            self.said += f" {line}"
        elif line.startswith(("Message ", "Warning: ")):
            self.said += f" {line}"

    def complete(self, entry: Entry, is_only: bool) -> None:
        said = entry.diagnosis
        if self.said and (not said or said.startswith(" ") or said.isdigit()):
            entry.diagnosis = self.said
        if self.replies and is_only:
            entry.diagnosis = f"{' '.join(self.replies)} {entry.diagnosis}"
        entry.diagnosis = swept(entry.diagnosis)
        entry.command = entry.command or self.command or find_command(entry.diagnosis)
        if not entry.command and self.replies:
            entry.command = "EHLO"
        if self.status and not is_status(entry.status):
            entry.status = self.status
        if entry.recipient.startswith("@"):
            entry.recipient = find_address(entry.diagnosis) or entry.recipient


def sendmail5(mail: Mail) -> Reading | None:
    if not mail["subject"].startswith("Returned mail: "):
        return None
    boundaries = ("   ----- Unsent message follows -----", "  ----- No message was collected -----")
    report, returned = cut(mail.body, boundaries)
    if not returned:
        return None
    entries = Entries()
    commands: dict[int, str] = {}
    replies: dict[int, str] = {}
    said, reply, is_over = "", "", False
    for line in lines_behind(report, having("----- Transcript of session follows -----")):
        if line.startswith(("5", "4")) and aligned(line, (" <", "@", ">...")):
            entry = entries.begin(between(line, "<", ">..."))
            entry.diagnosis = line.partition(">...")[2].strip()
            if replies.get(entries.found - 1):
                entry.diagnosis += f": {replies[entries.found - 1]}"
            is_over = is_over and entries.found == 1
        elif line.startswith(">>> "):
            commands[entries.found] = find_command(line) or commands.get(entries.found, "")
        elif line.startswith("<<< "):
            replies[entries.found] = line[4:]
        elif not is_over:
            is_over = " while talking to " in line
            if not is_over and line.startswith(("4", "5")) and "... " in line:
                reply, said = line[:3], line.partition("... ")[2]
    if not entries.found and (addressed := between(f"\n{returned}", "\nTo: ", "\n")):
        entries.begin(first_address(addressed))
    for number, entry in enumerate(entries):
        entry.diagnosis = swept(entry.diagnosis or said or replies.get(number, ""))
        entry.reply = find_reply(entry.diagnosis) or reply
        entry.command = commands.get(number, "") or find_command(entry.diagnosis)
        if "@" not in entry.recipient:
            entry.recipient = find_address(between(entry.diagnosis, "<", ">")) or entry.recipient
    return Reading(entries, returned) if entries.found else None


_POSTFIX_BEGINS = (
    ("The ", "Postfix "),
    ("The ", "mail system"),
    ("The ", "program"),
    ("This is the", "Postfix"),
    ("This is the", "mail system"),
)


def postfix(mail: Mail) -> Reading | None:
    if "x-aol-ip" in mail.head:
        return None
    if "SMTP server: errors from " in mail["subject"]:
        return _postfix_transcript(mail)
    if mail["subject"] != "Undelivered Mail Returned to Sender":
        return None
    report, returned = cut(mail.body, (RETURNED, RETURNED_HEADER))
    reader, notice = FieldReader(), _PostfixNotice()
    for line, is_below in reader.walk(report, lambda line: any(aligned(line, words) for words in _POSTFIX_BEGINS)):
        if is_below and " " in line:
            reader.fold(line)
        elif aligned(line, ("X-Postfix-Sender:", "rfc822;", "@")):
            returned = with_field(returned, "X-Postfix-Sender", first_address(line.partition(";")[2]))
        else:
            notice.hear(line)
    entries = reader.entries
    if not entries.found:
        recipient = notice.recipient
        if not recipient and notice.is_silent:
            recipient = first_address(between(f"\n{returned}", "\nTo: ", "\n"))
        if not recipient:
            return None
        entries.begin(recipient)
    for entry in entries:
        entry.fill(reader.of_all)
        notice.complete(entry)
    return Reading(entries, returned)


class _PostfixNotice:
    """The words above the fields, which tell the whole answer of the server."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.recipient = ""
        self.alias = ""
        self.said = ""
        self.is_silent = False

    def hear(self, line: str) -> None:
        if " (in reply to " in line or "command)" in line:
            if command := find_command(line):
                self.commands.append(command)
            self.said = f"{self.said} {line}"[:MAX_SAID]
        elif aligned(line, ("<", "@", ">", "(expanded from <", "):")):
            self.recipient = first_address(line.partition("> ")[0] + ">")
            self.alias = between(line, "(expanded from <", ">)")
            self.said = line.partition(">): ")[2]
        elif line.startswith("<") and aligned(line, ("<", "@", ">:")):
            self.recipient = first_address(line.partition(">")[0] + ">")
            self.said = line.partition(">:")[2]
        elif "--- Delivery report unavailable ---" in line:
            self.is_silent = True
        elif self.said and line.startswith("    "):
            self.said = f"{self.said} {line[4:]}"[:MAX_SAID]

    def complete(self, entry: Entry) -> None:
        if self.said:
            self.said = swept(self.said)
            entry.diagnosis = entry.diagnosis or self.said
            if entry.diagnosis.isdigit():
                entry.diagnosis = self.said
            else:
                self._compare(entry)
        entry.diagnosis = swept(entry.diagnosis)
        entry.command = self.commands.pop(0) if self.commands else find_command(entry.diagnosis)
        if not entry.command and "refused to talk to me:" in entry.diagnosis:
            entry.command = "HELO"
        if not entry.spec and aligned(entry.diagnosis, ("host ", " said:")):
            entry.spec = "SMTP"

    def _compare(self, entry: Entry) -> None:
        status = reply = ""
        if not entry.status or entry.status.startswith(("4.0.0", "5.0.0")):
            status = find_status(self.said)
            if status and not status.endswith(".0.0"):
                entry.status = status
        if not entry.reply or entry.reply.endswith("00"):
            reply = find_reply(self.said)
            if reply and not reply.endswith("00"):
                entry.reply = reply
        if (status or reply) and len(self.said) >= len(entry.diagnosis) and entry.diagnosis in self.said:
            entry.diagnosis = self.said


_TALK = re.compile(r"\A[ ]*(In|Out):\s+(.*)\Z")
_ARGUMENT = re.compile(r"(?:FROM|TO):[ ]*<([^<>\s]{1,300}@[^<>\s]{1,300})>", re.IGNORECASE)


def _postfix_transcript(mail: Mail) -> Reading | None:
    """What Postfix tells its postmaster of a session that went wrong: what came In and went Out."""
    report, returned = cut(mail.body, (RETURNED, RETURNED_HEADER))
    entries, command = Entries(), "CONN"
    for line in re.sub(r"\n {5,}(?=\S)", " ", report).split("\n"):
        talk = _TALK.match(line)
        if not talk:
            continue
        entry = entries.last
        if talk[1] == "In":
            command = talk[2].partition(" ")[0].upper()
            argument = _ARGUMENT.search(talk[2])
            if command in ("HELO", "EHLO"):
                entry.lhost = talk[2].partition(" ")[2]
            elif command == "RCPT" and argument:
                entries.begin(argument[1])
            elif command == "MAIL" and argument and not returned:
                returned = f"To: {argument[1]}\n"
        elif talk[2][:1] in ("4", "5") and not entry.diagnosis:
            entry.diagnosis, entry.reply = talk[2], talk[2][:3]
            entry.status = find_status(talk[2])
            entry.command = command
    return done(entries, returned)


_QMAIL_COMMANDS = {
    "CONN": [" but greeting failed."],
    "EHLO": [" but my name was rejected."],
    "MAIL": [" but sender was rejected."],
    "RCPT": [" does not like recipient."],
    "DATA": [" failed on DATA command", " failed after I sent the message"],
}
_QMAIL_QUEUE = "this message has been in the queue too long."
_QMAIL_WORDS = {
    "userunknown": ["no mailbox here by that name", "does not like recipient."],
    "mailboxfull": ["disk quota exceeded"],
    "mesgtoobig": ["Message size exceeds fixed maximum message size:"],
    "hostunknown": ["Sorry, I couldn't find any host "],
    "systemfull": ["Requested action not taken: mailbox unavailable (not enough free space)"],
    "systemerror": ["bad interpreter: No such file or directory", "system error", "Unable to"],
    "notaccept": ["Sorry, I couldn't find a mail exchanger or IP address"],
    "networkerror": [
        "Sorry, I wasn't able to establish an SMTP connection",
        "Sorry. Although I'm listed as a best-preference MX or A for that host",
    ],
}
_X4_WORDS = {
    **{reason: words for reason, words in _QMAIL_WORDS.items() if reason != "notaccept"},
    "networkerror": [*_QMAIL_WORDS["networkerror"], *_QMAIL_WORDS["notaccept"]],
}
_QMAIL_LDAP = {
    "suspend": ["Mailaddress is administrativly disabled", "Mailaddress is administratively disabled"],
    "userunknown": ["Sorry, no mailbox here by that name"],
    "exceedlimit": ["The message exeeded the maximum size the user accepts"],
    "systemerror": [
        "Automatic homedir creator crashed",
        "Illegal value in LDAP attribute",
        "LDAP attribute is not given but mandatory",
        "Timeout while performing search on LDAP server",
        "Too many results returned but needs to be unique",
        "Permanent error while executing qmail-forward",
        "Temporary error in automatic homedir creation",
        "Temporary error while executing qmail-forward",
        "Temporary failure in LDAP lookup",
        "Unable to contact LDAP server",
        "Unable to login into LDAP server, bad credentials",
    ],
}
_QMAIL_RETURNED = "--- Below this line is a copy of the message."
_X4_BEGINS = having(
    "He/Her is not ",
    "unable to deliver your message to the following addresses",
    "Su mensaje no pudo ser entregado",
    "This is the machine generated message from mail service",
    "This is the mail delivery agent at",
    "Unable to deliver message to the following address",
    "Unfortunately, your mail was not delivered to the following address:",
    "Your mail message to the following address",
    "Your message to the following addresses",
    "We're sorry.",
)


def _passed_qmail(mail: Mail) -> bool:
    return any(
        aligned(hop, ("(qmail ", "invoked for bounce)")) or aligned(hop, ("(qmail ", "invoked from ", "network)"))
        for hop in mail.received
    )


def qmail(mail: Mail) -> Reading | None:
    if mail["subject"] != "failure notice" and not _passed_qmail(mail):
        return None
    report, returned = cut(mail.body, (_QMAIL_RETURNED,))
    entries = _qmail_entries(lines_behind(report, starting_with("Hi. This is the qmail")))
    for entry in entries:
        _complete_qmail(entry, _QMAIL_WORDS)
        entry.status = find_status(entry.diagnosis)
    return Reading(entries, returned, "qmail") if entries.found else None


def x4(mail: Mail) -> Reading | None:
    """Relatives of qmail with words of their own."""
    if not mail["subject"].startswith(("failure notice", "Permanent Delivery Failure")) and not _passed_qmail(mail):
        return None
    report, returned = cut(mail.body, (_QMAIL_RETURNED, "Original message follows."))
    entries = _qmail_entries(lines_behind(report, _X4_BEGINS))
    for entry in entries:
        _complete_qmail(entry, _X4_WORDS, mail_command_means="rejected")
    return Reading(entries, returned) if entries.found else None


def _qmail_entries(lines: Iterator[str]) -> Entries:
    entries = Entries()
    for line in lines:
        entry = entries.last
        if line.startswith("<") and aligned(line, ("<", "@", ">", ":")):
            entries.begin(first_address(line))
        elif entries.found:
            entry.diagnosis += f"{line} "
            if line.startswith("Remote host said:"):
                entry.other = line
            entry.rhost = entry.rhost or _qmail_host(line)
    return entries


def _qmail_host(line: str) -> str:
    for words in ("Giving up on ", "Connected to ", "remote host "):
        _, found, behind = line.partition(words)
        if found:
            return behind.partition(" ")[0].rstrip(".")
    return ""


def _complete_qmail(entry: Entry, words: dict[str, list[str]], mail_command_means: str = "") -> None:
    entry.diagnosis = swept(entry.diagnosis)
    for command, phrases in _QMAIL_COMMANDS.items():
        if any(phrase in entry.diagnosis for phrase in phrases):
            entry.command = command
            break
    if "Sorry, no SMTP connection got far enough; most progress was " in entry.diagnosis and not entry.command:
        entry.command = find_command(entry.diagnosis)
    if entry.command == "MAIL" and mail_command_means:
        entry.reason = mail_command_means
    elif entry.command in ("HELO", "EHLO"):
        entry.reason = "blocked"
    elif aligned(entry.diagnosis, (" does not like recipient.", _QMAIL_QUEUE)):
        entry.reason = "onhold"
    else:
        _guess_qmail(entry, words)
    entry.command = entry.command or find_command(entry.diagnosis)


def _guess_qmail(entry: Entry, words: dict[str, list[str]]) -> None:
    guess(entry, words, entry.other or entry.diagnosis)
    if not entry.reason:
        guess(entry, _QMAIL_LDAP)
    if not entry.reason and _QMAIL_QUEUE in entry.diagnosis:
        entry.reason = "expired"


_OPENSMTPD_WORDS = {
    "expired": ["Envelope expired"],
    "hostunknown": ["Invalid domain name", "Domain does not exist"],
    "notaccept": [
        "Destination seem to reject all mails",
        "No MX found for domain",
        "No MX found for destination",
    ],
    "networkerror": [
        "Address family mismatch on destination MXs",
        "All routes to destination blocked",
        "bad DNS lookup error code",
        "Could not retrieve source address",
        "Loop detected",
        "Network error on destination MXs",
        "No valid route to remote MX",
        "No valid route to destination",
        "Temporary failure in MX lookup",
    ],
    "securityerror": ["Could not retrieve credentials"],
}


def opensmtpd(mail: Mail) -> Reading | None:
    if not (
        mail["subject"].startswith("Delivery status notification")
        and mail["from"].startswith("Mailer Daemon <")
        and any(" (OpenSMTPD) with " in hop for hop in mail.received)
    ):
        return None
    report, returned = cut(mail.body, ("    Below is a copy of the original message:",))
    entries = Entries()
    for line in lines_behind(report, starting_with("    This is the MAILER-DAEMON, please DO NOT REPLY to this ")):
        recipient, colon, said = line.partition(":")
        if colon and aligned(line, ("@", " ")):
            entries.begin(recipient.strip()).diagnosis = said
    return done(entries, returned, _OPENSMTPD_WORDS)


def dragonfly(mail: Mail) -> Reading | None:
    if not mail["subject"].startswith("Mail delivery failed"):
        return None
    if not any(" (DragonFly Mail Agent" in hop for hop in mail.received):
        return None
    report, returned = cut(mail.body, ("Original message follows.", "Message headers follow"))
    entries = Entries()
    for line in lines_behind(report, starting_with("This is the DragonFly Mail Agent ")):
        entry = entries.last
        if line.startswith("There was an error delivering your mail to <"):
            entries.begin(first_address(line))
            continue
        entry.diagnosis += f" {line}"
        if " did not like our " in line and not entry.rhost:
            words = line.split(" ", 2)
            entry.rhost = words[0] if "." in words[0] or len(words) < 2 else words[1]
            entry.command = find_command(line)
    words_of = {"expired": ["Could not deliver for the last "], "hostunknown": ["DNS lookup failure: host "]}
    return done(entries, returned, words_of)


def apache_james(mail: Mail) -> Reading | None:
    if not (
        mail["subject"] == "[BOUNCE]"
        or ".JavaMail." in mail["message-id"]
        or any("JAMES SMTP Server" in hop for hop in mail.received)
    ):
        return None
    report, returned = cut(mail.body, (RETURNED,))
    entries, is_over = Entries(), False
    for line in lines_behind(report, lambda line: True):
        entry = entries.last
        if line.startswith("  RCPT TO: "):
            entries.begin(first_address(line[11:].strip()))
        elif line.startswith("  Subject: ") and "\nSubject:" not in returned:
            returned = with_field(returned, "Subject", line[11:])
        elif line.startswith("  Sent date: ") or is_over:
            continue
        elif entry.diagnosis and line.startswith("Message details:"):
            is_over = True
        else:
            entry.diagnosis += f" {line}"
    return done(entries, returned)
