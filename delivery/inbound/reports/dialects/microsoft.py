"""Exchange in its generations, and Office 365."""

import re

from delivery.inbound.reports.addresses import first_address
from delivery.inbound.reports.codes import find_reply, find_status, own_status
from delivery.inbound.reports.dialects.shapes import RETURNED, lines_behind
from delivery.inbound.reports.entries import Entries, Entry, Reading
from delivery.inbound.reports.fields import is_field, read_field, starting_with
from delivery.inbound.reports.text import Mail, aligned, cut, swept

_CODES_2003 = {
    "000B099C": "onhold",
    "000B09AA": "onhold",
    "000B09B6": "onhold",
    "000C05A6": "userunknown",
    "00010256": "systemerror",
    "000D06B5": "systemerror",
    "00120270": "networkerror",
    "00050311": "contenterror",
    "000502CC": "contenterror",
    "000B0981": "securityerror",
    "000C0595": "filtered",
}
_NAMES_2007 = {
    "SMTPSEND.DNS.NonExistentDomain": "hostunknown",
    "SMTPSEND.DNS.MxLoopback": "networkerror",
    "RESOLVER.ADR.BadPrimary": "systemerror",
    "RESOLVER.ADR.RecipNotFound": "userunknown",
    "RESOLVER.ADR.ExRecipNotFound": "userunknown",
    "RESOLVER.ADR.RecipLimit": "toomanyconn",
    "RESOLVER.ADR.InvalidInSmtp": "systemerror",
    "RESOLVER.ADR.Ambiguous": "systemerror",
    "RESOLVER.RST.AuthRequired": "securityerror",
    "RESOLVER.RST.NotAuthorized": "rejected",
    "RESOLVER.RST.RecipSizeLimit": "mesgtoobig",
    "QUEUE.Expired": "expired",
}


def exchange_2003(mail: Mail) -> Reading | None:
    if not (
        "x-ms-embedded-report" in mail.head
        or mail["x-mailer"].startswith(("Internet Mail Service (", "Microsoft Exchange Server Internet Mail Connector"))
        or mail["x-mimeole"].startswith("Produced By Microsoft Exchange")
        or any(" with Internet Mail Service (" in hop for hop in mail.received)
    ):
        return None
    report, returned = cut(mail.body, (RETURNED,))
    reader = _Reader2003()
    for line in report.split("\n"):
        reader.hear(line)
    if not reader.entries.found:
        return None
    for entry in reader.entries:
        _conclude_2003(entry)
    return Reading(reader.entries, returned or reader.returned())


class _Reader2003:
    """Whom the mail was to, when it was sent, its subject; then the recipients and what befell them."""

    def __init__(self) -> None:
        self.entries = Entries()
        self.about: dict[str, str] = {}
        self.has_begun = False
        self.is_over = False

    def returned(self) -> str:
        return "".join(f"{name}: {value}\n" for name, value in self.about.items())

    def hear(self, line: str) -> None:
        if self.is_over:
            return
        if not self.has_begun:
            self.has_begun = line.startswith("Your message")
        elif len(self.about) < 3:
            self._hear_about(line)
        elif aligned(line, ("@", " on ")):
            start = line.lower().find("smtp=")
            self.entries.begin(first_address(line[start + 5 if start >= 0 else 0 : line.find(" on ") + 1].strip()))
        elif line.startswith(" ") and "MSEXCH:" in line:
            self.entries.last.diagnosis += line[line.index("MSEXCH:") :]
        elif self.entries.last.diagnosis.startswith("MSEXCH:"):
            self.entries.last.diagnosis += f" {line}"
            self.is_over = True
        else:
            self.entries.last.other += f" {line}"

    def _hear_about(self, line: str) -> None:
        for sign, name in (("  To: ", "From"), ("  Sent: ", "Date"), ("  Subject: ", "Subject")):
            if (line.startswith((sign, f"    {sign}"))) and name not in self.about:
                self.about[name] = line.partition(": ")[2] if name == "Date" else line.rpartition(" ")[2]


def _conclude_2003(entry: Entry) -> None:
    if entry.diagnosis.startswith("MSEXCH:"):
        code = entry.diagnosis.partition("(")[2][:8]
        entry.diagnosis = entry.diagnosis.partition(")")[2]
        if code in _CODES_2003:
            entry.reason = _CODES_2003[code]
            entry.status = own_status(entry.reason)
    if not entry.reason and entry.other:
        entry.diagnosis = swept(f"{entry.other} {entry.diagnosis}")


def exchange_2007(mail: Mail) -> Reading | None:
    if not mail["subject"].startswith(("Undeliverable", "Non remis", "Non_remis_", "Non recapitabile")):
        return None
    if len(mail["content-language"]) not in (2, 5) or any(
        name in mail.head
        for name in (
            "x-ms-exchange-crosstenant-originalarrivaltime",
            "x-ms-exchange-crosstenant-fromentityheader",
        )
    ):
        return None
    boundaries = (
        "Original message headers:",
        "tes de message d'origine :",
        "Intestazioni originali del messaggio:",
    )
    report, returned = cut(mail.body, boundaries)
    begins = starting_with(
        "Diagnostic information for administrators:",
        "Informations de diagnostic pour les administrateurs",
        "Informazioni di diagnostica per gli amministratori",
    )
    entries, server = Entries(), ""
    for line in lines_behind(report, begins):
        if not server:
            if line.startswith(("Generating server", "Server di generazione", "Serveur de g")):
                server = line.partition(":")[2].strip() or "unknown"
        elif "@" in line and " " not in line:
            entries.begin(first_address(line))
        else:
            _hear_2007(entries.last, line)
    if not entries.found:
        return None
    for entry in entries:
        entry.diagnosis = swept(entry.diagnosis)
        _conclude_2007(entry)
    return Reading(entries, returned)


def _hear_2007(entry: Entry, line: str) -> None:
    reply, status = find_reply(line), find_status(line)
    if reply or status:
        entry.reply, entry.status, entry.diagnosis = reply, status, line
    elif entry.diagnosis.endswith("="):
        entry.diagnosis = entry.diagnosis.removesuffix("=") + line


def _conclude_2007(entry: Entry) -> None:
    for sign in (" RESOLVER.", " QUEUE."):
        start = entry.diagnosis.find(sign)
        if start > 0:
            # Where another semicolon stands before it, the status says more: "#5.7.1 smtp;550 5.7.1 RESOLVER.RST.AuthRequired; …".
            name = entry.diagnosis[start + 1 : max(entry.diagnosis.find(";"), 0)]
            entry.reason = _NAMES_2007.get(name, entry.reason)
            return


_SIGNS_365 = (
    "x-ms-exchange-message-is-ndr",
    "x-microsoft-antispam-prvs",
    "x-exchange-antispam-report-test",
    "x-exchange-antispam-report-cfa-test",
    "x-ms-exchange-crosstenant-originalarrivaltime",
    "x-ms-exchange-crosstenant-fromentityheader",
    "x-ms-exchange-transport-crosstenantheadersstamped",
)
_HOSTS_365 = (".outbound.protection.outlook.com", ".prod.outlook.com")
_TITLES_365 = ("Undeliverable:", "Onbestelbaar:", "Não entregue:", "Não_entregue:")
_STATUSES_365 = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"4\.4\.7", "expired"),
        (r"[45]\.4\.312", "networkerror"),
        (r"[45]\.4\.316", "expired"),
        (r"4\.7\.26", "authfailure"),
        (r"4\.7\.[56]\d\d", "blocked"),
        (r"4\.7\.8[5-9]\d", "blocked"),
        (r"5\.0\.350", "contenterror"),
        (r"5\.1\.10", "userunknown"),
        (r"5\.4\.1", "norelaying"),
        (r"5\.4\.6", "networkerror"),
        (r"5\.6\.11", "contenterror"),
        (r"5\.7\.1|5\.7\.1[23]|5\.7\.124|5\.7\.13[3-6]", "rejected"),
        (r"5\.7\.23", "authfailure"),
        (r"5\.7\.25", "networkerror"),
        (r"5\.7\.50[1-3]", "spamdetected"),
        (r"5\.7\.50[45]", "filtered"),
        (r"5\.7\.50[67]", "blocked"),
        (r"5\.7\.508", "toomanyconn"),
        (r"5\.7\.509", "authfailure"),
        (r"5\.7\.510", "notaccept"),
        (r"5\.7\.511", "rejected"),
        (r"5\.7\.512", "authfailure"),
        (r"5\.7\.57", "securityerror"),
        (r"5\.7\.60[6-9]|5\.7\.6[1-4]\d", "blocked"),
        (r"5\.7\.7[0-4]\d", "toomanyconn"),
    )
)
_BEGINS_365 = re.compile(
    r"\A(?:Delivery has failed to these recipients or groups:|Original Message Details"
    r"|.{1,200} rejected your message to the following e-?mail addresses:"
    r"|Falha na entrega a estes destinat.{1,4}rios ou grupos:"
    r"|Uw bericht kan niet worden bezorgd bij de volgende geadresseerden of groepen:)"
)
_DIAGNOSTICS_365 = re.compile(
    r"\A(?:Diagnostic information for administrators:|Error Details|Diagnostische gegevens voor beheerders:"
    r"|Informa.{1,4}es de diagn.{1,4}stico para administradores:)"
)
_END_365 = re.compile(
    r"\A(?:Original [Mm]essage [Hh]eaders:?|Message Hops|Cabe.{1,4}alhos originais da mensagem:|Oorspronkelijke berichtkoppen:)"
)
_SERVER_365 = re.compile(r"\A(?:Generating server|Bronserver|Servidor de origem): (.+)\Z")
_MAILED_TO = re.compile(r"\A[^@\n]{1,300}@[^<\n]{1,500}<mailto:([^@<>\s]{1,200}@[^<>\s]{1,300})>\Z")


def office_365(mail: Mail) -> Reading | None:
    if not _speaks_365(mail):
        return None
    report, returned = cut(mail.body, (RETURNED, "Original message headers:"))
    reader = _Reader365()
    for line in lines_behind(report, lambda line: _BEGINS_365.match(line) is not None):
        reader.hear(line)
    if not reader.entries.found:
        return None
    for entry in reader.entries:
        entry.fill(reader.of_all)
        entry.diagnosis = swept(entry.diagnosis)
        if not entry.status or entry.status.endswith(".0.0"):
            entry.status = find_status(entry.diagnosis) or entry.status
        if "unknown recipient or mailbox unavailable ->" in entry.diagnosis:
            entry.command = "RCPT"
        entry.reason = next((reason for code, reason in _STATUSES_365 if code.fullmatch(entry.status)), "")
    return Reading(reader.entries, returned)


def _speaks_365(mail: Mail) -> bool:
    signs = (
        any(title in mail["subject"] for title in _TITLES_365),
        any(host in hop for hop in mail.received for host in _HOSTS_365),
        any(host in mail["message-id"] for host in _HOSTS_365),
    )
    return sum(signs) + sum(bool(mail[name]) for name in _SIGNS_365) >= 2


class _Reader365:
    def __init__(self) -> None:
        self.entries = Entries()
        self.of_all: dict[str, str] = {}
        self._is_past = False

    def hear(self, line: str) -> None:
        recipient = _MAILED_TO.match(line)
        entry = self.entries.last
        if recipient:
            self.entries.begin(recipient[1])
        elif line.startswith("Recipient Address: "):
            self.entries.begin(line.partition(":")[2].strip())
        elif server := _SERVER_365.match(line):
            entry.lhost = entry.lhost or server[1].lower()
        elif self._is_past:
            self._hear_field(line)
        elif _DIAGNOSTICS_365.match(line):
            entry.diagnosis = line
        elif entry.diagnosis:
            self._is_past = _END_365.match(line) is not None
            if not self._is_past:
                entry.diagnosis += f" {line}"
        else:
            self._is_past = line.startswith("Content-Type: message/delivery-status")

    def _hear_field(self, line: str) -> None:
        found = read_field(line) if is_field(line) else None
        attribute = {"action": "action", "status": "status", "remote-mta": "rhost", "reporting-mta": "rhost"}
        if not found:
            return
        entry, (name, kind, value) = self.entries.last, found
        if name in attribute:
            setattr(entry, attribute[name], value)
            self.of_all[attribute[name]] = value
        elif name == "diagnostic-code" and not entry.diagnosis:
            entry.spec, entry.diagnosis = kind, value
        elif name == "final-recipient" and not entry.diagnosis:
            entry.recipient = value
