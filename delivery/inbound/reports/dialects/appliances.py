"""Filters, gateways and groupware: Domino and Notes, m-FILTER, MailMarshal, InterScan, IMail, SurfControl, fml and others."""

import re

from delivery.inbound.reports.addresses import first_address, is_address
from delivery.inbound.reports.codes import find_command, own_status
from delivery.inbound.reports.dialects.shapes import RETURNED, between, done, guess, lines_behind, with_field
from delivery.inbound.reports.entries import Entries, Reading
from delivery.inbound.reports.fields import being, is_field, read_field, starting_with
from delivery.inbound.reports.text import Mail, aligned, cut, parameter, swept


def activehunter(mail: Mail) -> Reading | None:
    if "x-ahmailid" not in mail.head:
        return None
    report, returned = cut(mail.body, (RETURNED,))
    entries = Entries()
    begins = being("  ----- The following addresses had permanent fatal errors -----")
    for line in lines_behind(report, begins):
        entry = entries.last
        if line.startswith(">>> ") and "@" in line:
            entries.begin(first_address(line[line.find("<") :]))
        elif "0" <= line[0] <= "z" and not entry.diagnosis:
            entry.diagnosis = line
    return done(entries, returned)


_DOMINO_WORDS = {
    "userunknown": [
        "not listed in Domino Directory",
        "not listed in public Name & Address Book",
        "non répertorié dans l'annuaire Domino",
        "no se encuentra en el Directorio de Domino",
        "Domino ディレクトリには見つかりません",
    ],
    "filtered": ["Cannot route mail to user"],
    "systemerror": ["Several matches found in Domino Directory"],
}


def domino(mail: Mail) -> Reading | None:
    if not mail["subject"].startswith(("DELIVERY FAILURE:", "DELIVERY_FAILURE:")):
        return None
    report, returned = cut(mail.body, (RETURNED,))
    entries, of_all = Entries(), {}
    for line in lines_behind(report, starting_with("Your message")):
        entry = entries.last
        if line.startswith("was not delivered to:"):
            entries.begin(line)
        elif line.startswith("  ") and "@" in line and " " not in line[3:]:
            entry.recipient = first_address(line[2:])
        elif line.startswith("because:") or entry.diagnosis == "because:":
            entry.diagnosis = line
        elif line.startswith("  Subject: "):
            returned = with_field(returned, "Subject", line[11:])
        elif is_field(line):
            found = read_field(line)
            if found and found[0] == "diagnostic-code":
                entry.spec, entry.diagnosis = entry.spec or found[1], entry.diagnosis or found[2]
            elif found and found[0] in ("action", "status"):
                setattr(entry, found[0], found[2])
                of_all[found[0]] = found[2]
            elif found and found[0] in ("remote-mta", "reporting-mta"):
                entry.rhost = of_all["rhost"] = found[2]
        elif entry.diagnosis and line.startswith(" "):
            entry.diagnosis += line.lstrip()
    if not entries.found:
        return None
    for entry in entries:
        entry.diagnosis = swept(entry.diagnosis)
        entry.recipient = first_address(entry.recipient)
        entry.fill(of_all)
        guess(entry, _DOMINO_WORDS)
        entry.status = entry.status or own_status(entry.reason)
    return Reading(entries, returned)


_NOTES_WORDS = {
    "userunknown": ["User not listed in public Name & Address Book", "ディレクトリのリストにありません"],
    "networkerror": ["Message has exceeded maximum hop count"],
}


def notes(mail: Mail) -> Reading | None:
    if not mail["subject"].startswith("Undeliverable message"):
        return None
    report, returned = cut(mail.body, ("------- Returned Message --------",))
    entries = Entries()
    charset = parameter(mail["content-type"].lower(), "charset")
    for line in lines_behind(report, starting_with("------- Failure Reasons ")):
        if "@" in line and " " not in line:
            entries.begin(line)
        elif not line.startswith("-"):
            entries.last.diagnosis += _in_charset(line, charset)
    if not entries.found and (addressed := between(f"\n{returned}", "\nTo: ", "\n")):
        entries.begin(first_address(addressed))
    if not entries.found:
        return None
    for entry in entries:
        entry.diagnosis = swept(entry.diagnosis)
        entry.recipient = first_address(entry.recipient)
        guess(entry, _NOTES_WORDS)
        entry.status = own_status(entry.reason) if entry.reason else entry.status
    return Reading(entries, returned)


def _in_charset(line: str, charset: str) -> str:
    """Of a charset whose octets are ASCII, such as ISO-2022-JP; what was none has become question marks before."""
    if line.isascii() and "\x1b" not in line:
        return line
    try:
        return line.encode().decode(charset or "utf-8")
    except (LookupError, ValueError):
        return "MULTIBYTE CHARACTERS HAVE BEEN REMOVED"


_IMAIL_WORDS = {
    "hostunknown": ["Unknown host"],
    "userunknown": ["Unknown user", "Invalid final delivery userid"],
    "mailboxfull": ["User mailbox exceeds allowed size"],
    "virusdetected": ["Requested action not taken: virus detected"],
    "undefined": ["undeliverable to"],
    "expired": ["Delivery failed "],
}


def imail(mail: Mail) -> Reading | None:
    if not mail["subject"].startswith("Undeliverable Mail ") and not mail["x-mailer"].startswith("<SMTP32 v"):
        return None
    report, returned = cut(mail.body, ("Original message follows.",))
    entries = Entries()
    for line in report.split("\n"):
        entry = entries.last
        position = line.find(": ")
        if position > 8 and "@" in line[position:]:
            entries.begin(first_address(line[position + 2 :])).diagnosis = line
        elif line.startswith("undeliverable "):
            entries.begin(first_address(line))
        elif "Body of message generated response:" in line:
            entry.other = line
        elif entry.other:
            entry.other += f" {line}"
    if not entries.found:
        return None
    for entry in entries:
        entry.diagnosis = swept(f"{entry.other} {entry.diagnosis}")
        entry.command = find_command(entry.diagnosis)
        guess(entry, _IMAIL_WORDS)
    return Reading(entries, returned)


_INTERSCAN_TITLES = ("Mail could not be delivered", "メッセージを配信できません。", "メール配信に失敗しました")


def interscan(mail: Mail) -> Reading | None:
    if not (
        mail["from"].startswith(('"InterScan MSS"', '"InterScan Notification"')) or mail["subject"] in _INTERSCAN_TITLES
    ):
        return None
    report, returned = cut(mail.body, (RETURNED,))
    entries = Entries()
    for line in filter(None, report.split("\n")):
        asked, answered = line.find(" >>> ") > 1, line.find(" <<< ") > 1
        if "@" in line and " <" in line and (asked or answered or "Unable to deliver " in line):
            recipient = line[line.rfind("<") + 1 : line.rfind(">")]
            if recipient != entries.last.recipient:
                entries.begin(recipient)
            if "Unable to deliver " in line:
                entries.last.diagnosis = line
        entry = entries.last
        if line.startswith("Sent <<< "):
            entry.command = find_command(line)
        elif line.startswith("Received >>> "):
            entry.diagnosis = line.partition(" >>> ")[2]
        else:
            entry.command = find_command(line) if " >>> " in line else entry.command
            entry.diagnosis = line.partition(" <<< ")[2] or entry.diagnosis
    for entry in entries:
        entry.reason = "userunknown" if "Unable to deliver" in entry.diagnosis else ""
    return done(entries, returned)


def mailfoundry(mail: Mail) -> Reading | None:
    if mail["subject"] != "Message delivery has failed":
        return None
    if not any("(MAILFOUNDRY) id " in hop for hop in mail.received):
        return None
    report, returned = cut(mail.body, (RETURNED,))
    entries = Entries()
    for line in lines_behind(report, starting_with("Unable to deliver message to:"), inclusive=True):
        entry = entries.last
        if line.startswith("Unable to deliver message to: <") and "@" in line:
            entries.begin(first_address(line))
        elif line == "Delivery failed for the following reason:":
            entry.diagnosis = line
        elif entry.diagnosis and not line.startswith("-"):
            entry.diagnosis += f" {line}"
    return done(entries, returned)


def mailmarshal(mail: Mail) -> Reading | None:
    if not mail["subject"].startswith('Undeliverable Mail: "'):
        return None
    boundary = parameter(mail["content-type"], "boundary")
    report, returned = cut(mail.body, ("+" * 71, f"--{boundary}--" if boundary else ""))
    entries, is_over = Entries(), False
    for line in lines_behind(report, being("Your message:"), inclusive=True):
        entry = entries.last
        if line.startswith("    ") and "@" in line:
            entries.begin(line[4:].strip())
        elif line == "Could not be delivered because of":
            entry.diagnosis = line
        elif entry.diagnosis and not is_over:
            is_over = line.startswith("The following recipients were affected:")
            entry.diagnosis += "" if is_over else f" {line}"
        elif line.startswith("Original Sender: "):
            returned = with_field(returned, "From", between(line, "<", ">"))
        elif line.startswith("Reporting-MTA: "):
            entry.rhost = between(line, "<", ">")
        elif " From:" in line or " Subject:" in line:
            name, _, value = line.partition(":")
            returned = with_field(returned, name.strip(), swept(value))
    return done(entries, returned)


def messaging_server(mail: Mail) -> Reading | None:
    if "Boundary_(ID_" not in mail["content-type"] and not mail["subject"].startswith("Delivery Notification: "):
        return None
    report, returned = cut(mail.body, (RETURNED, "Return-path: "))
    begins = starting_with("This report relates to a message you sent with the following header fields:")
    entries = Entries()
    for line in lines_behind(report, begins):
        entry = entries.last
        name, _, value = line.partition(":")
        value = value.strip()
        if name == "  Recipient address" and "@" in line:
            entries.begin(first_address(line.rpartition(" ")[2]))
        elif name == "  Original address" and "@" in line:
            entry.recipient = first_address(line.rpartition(" ")[2])
        elif name == "  Reason":
            entry.diagnosis = value
        elif name == "  Diagnostic code":
            kind, _, said = value.partition(";")
            entry.spec, entry.diagnosis = kind.upper(), said
        elif name == "  Remote system":
            entry.rhost, entry.lhost = _hosts_of_session(value, entry.lhost)
        elif name == "Status":
            status, _, said = value.partition("(")
            entry.status = status.strip()
            entry.diagnosis = entry.diagnosis or said.partition(")")[0]
        elif name == "Reporting-MTA":
            entry.lhost = entry.lhost or value.partition(";")[2].strip()
    return done(entries, returned, {"hostunknown": ["Illegal host/domain name found"]})


def _hosts_of_session(value: str, known: str) -> tuple[str, str]:
    """`dns;mx.example.org (TCP|17.0.0.1|35|192.0.2.1|25)`"""
    host = value.partition(";")[2].partition("(")[0].strip()
    session = value.partition("(")[2].split("|")
    if session[0] != "TCP" or len(session) < 4:
        return host, known
    return host if "." in host else session[3], session[1]


def mfilter(mail: Mail) -> Reading | None:
    if mail["x-mailer"] != "m-FILTER" or mail["subject"] != "failure notice":
        return None
    report, returned = cut(mail.body, ("-------original message", "-------original mail info"))
    entries, has_command = Entries(), False
    for line in lines_behind(report, lambda line: " " not in line and is_address(line), inclusive=True):
        entry = entries.last
        if "@" in line and " " not in line:
            entries.begin(line)
        elif len(line) == 4 and " " not in line:
            if has_command and not entry.command:
                entry.command = line
        elif line == "-------SMTP command":
            has_command = True
        elif not line.startswith("-") and not entry.diagnosis:
            entry.diagnosis = line
    for entry in entries:
        entry.rhost = entry.rhost or _hop_with_name(mail)
    return done(entries, returned)


def _hop_with_name(mail: Mail) -> str:
    if not mail.received:
        return ""
    words = mail.received[-1].split()
    named = [words[n + 1] for n, word in enumerate(words[:-1]) if word in ("from", "by") and "." in words[n + 1]]
    return named[-1] if named else ""


_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def surfcontrol(mail: Mail) -> Reading | None:
    if "x-sef-processed" not in mail.head or mail["x-mailer"] != "SurfControl E-mail Filter":
        return None
    report, returned = cut(mail.body, (RETURNED,))
    entries, before = Entries(), ""
    for line in lines_behind(report, being("Your message could not be sent.")):
        entry = entries.last
        above, before = before, line
        if line.startswith("Addressed To:") and "@" in line:
            entries.begin(first_address(line.partition(":")[2].strip()))
        elif line.startswith(_DAYS):
            continue
        elif aligned(line, ("@", ":", " ", "[", "],", "...")):
            entry.rhost = between(line, "[", "],")
            entry.diagnosis = swept(line.partition("],")[2])
        elif is_field(line):
            found = read_field(line)
            attribute = {"action": "action", "status": "status", "remote-mta": "rhost", "reporting-mta": "rhost"}
            if found and found[0] in attribute:
                setattr(entry, attribute[found[0]], found[2])
            elif found and found[0] == "diagnostic-code":
                entry.diagnosis = found[2]
        elif above.startswith("Diagnostic-Code:") and line.startswith(" "):
            entry.diagnosis += f" {swept(line)}"
            before = f"Diagnostic-Code: {line}"
    return done(entries, returned)


_FML_WORDS = {
    "rejected": [
        " header may cause mail loop",
        "NOT MEMBER article from ",
        "reject mail from ",
        "reject spammers:",
        "You are not a member of this mailing list",
    ],
    "systemerror": [" has detected a loop condition so that", "Duplicated Message-ID", "Loop Back Warning:"],
    "securityerror": ["Security alert:"],
}
_FML_TITLES = {
    "rejected": [
        " are not member",
        "NOT MEMBER article from ",
        "reject mail ",
        "Spam mail from a spammer is rejected",
    ],
    "systemerror": ["fml system error message", "Loop Alert: ", "Loop Back Warning: ", "WARNING: UNIX FROM Loop"],
    "securityerror": ["Security Alert"],
}


def fml(mail: Mail) -> Reading | None:
    if "x-mlserver" not in mail.head or "-admin@" not in mail["from"] or ".FML" not in mail["message-id"]:
        return None
    report, returned = cut(mail.body, ("Original mail as follows:",))
    entries = Entries()
    for line in filter(None, report.split("\n")):
        start, stop = line.find("<"), line.rfind(">")
        if 0 < start < stop:
            entries.begin(line[start + 1 : stop]).diagnosis = line
        else:
            entries.last.diagnosis += line
    if not entries.found:
        return None
    for entry in entries:
        entry.diagnosis = swept(entry.diagnosis)
        guess(entry, _FML_WORDS)
        if not entry.reason:
            guess(entry, _FML_TITLES, mail["subject"])
    return Reading(entries, returned)


_X1_LINE = re.compile(r"\A(\S{1,300}@\S{1,300}) \[(.*?)\]")


def x1(mail: Mail) -> Reading | None:
    if not mail["subject"].startswith("Returned Mail: ") or not mail["from"].startswith('"Mail Deliver System" '):
        return None
    report, returned = cut(mail.body, ("Received: from ",))
    entries = Entries()
    for line in lines_behind(report, starting_with("The original message was received at ")):
        if aligned(line, ("@", " [", "]")):
            recipient, _, said = line.partition(" ")
            entries.begin(recipient).diagnosis = said[1:].partition("]")[0]
    return done(entries, returned)


def x2(mail: Mail) -> Reading | None:
    titles = ("Delivery failure", "failure delivery", "failed delivery")
    if "MAILER-DAEMON@" not in mail["from"] and not mail["subject"].startswith(titles):
        return None
    report, returned = cut(mail.body, ("--- Original message follows.",))
    entries = Entries()
    for line in lines_behind(report, starting_with("Unable to deliver message to the following address")):
        if line.startswith("<") and aligned(line, ("<", "@", ">", ":")):
            entries.begin(first_address(line))
        else:
            entries.last.diagnosis += f" {line}"
    return done(entries, returned)


def x3(mail: Mail) -> Reading | None:
    if not mail["subject"].startswith("Delivery status notification"):
        return None
    if not mail["from"].startswith("Mail Delivery System"):
        return None
    report, returned = cut(mail.body, (RETURNED,))
    entries = Entries()
    begins = starting_with("      This is an automatically generated Delivery Status Notification.")
    for line in lines_behind(report, begins):
        entry = entries.last
        if "  * " in line and "@" in line:
            entries.begin(line.partition(" * ")[2].strip())
        elif line.startswith("SMTP:"):
            entry.command, entry.diagnosis = find_command(line), line
        elif line.startswith("Routing: "):
            entry.diagnosis = line[9:]
        elif line.startswith("Diagnostic-Code: smtp; "):
            entry.diagnosis = line.partition("; ")[2]
    return done(entries, returned)


def x6(mail: Mail) -> Reading | None:
    if not mail["subject"].startswith("There was an error sending your mail"):
        return None
    report, returned = cut(mail.body, ("The attachment contains the original mail headers",))
    entries = Entries()
    opening = "The following recipients returned permanent errors: "
    for line in lines_behind(report, starting_with("We had trouble delivering your message. Full details follow:")):
        if line.startswith(opening):
            entry = entries.begin(first_address(line[len(opening) :].partition(" ")[0]))
        elif line.startswith("SMTP Server <"):
            entry = entries.begin(first_address(line[line.rfind("<") :]))
        else:
            continue
        entry.diagnosis, entry.command = line, find_command(line)
    return done(entries, returned)
