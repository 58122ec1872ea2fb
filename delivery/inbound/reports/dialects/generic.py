"""Reports of senders whom no dialect knows: fields as RFC 3464 has them, else words that stand around an address in most reports."""

from delivery.inbound.reports.addresses import find_address, first_address, is_address
from delivery.inbound.reports.codes import find_command, find_reply, find_status
from delivery.inbound.reports.dialects.agents import what_agent_says
from delivery.inbound.reports.dialects.shapes import between
from delivery.inbound.reports.entries import Entries, Entry, Reading
from delivery.inbound.reports.fields import is_field, read_field
from delivery.inbound.reports.text import Mail, aligned, swept

MAX_LINES = 5000

_BEGINS = (
    "content-type: message/delivery-status",
    "content-type: message/disposition-notification",
    "content-type: text/plain; charset=",
    "the original message was received at ",
    "this report relates to your message",
    "your message could not be delivered",
    "your message was not delivered to ",
)
_RETURNED = ("content-type: message/rfc822", "content-type: text/rfc822-headers", "return-path: <")
_UNTIL = (
    "a copy of the original message below this line:",
    "content-type: message/delivery-status",
    "for further assistance, please contact ",
    "here is a copy of the first part of the message",
    "received:",
    "received-from-mta:",
    "reporting-mta:",
    "reporting-ua:",
    "return-path:",
    "the non-delivered message is attached to this message",
)
_UNTIL_ANYWHERE = (
    "attachment is a copy of the message",
    "below is a copy of the original message:",
    "below this line is a copy of the message",
    "message contains ",
    "message text follows: ",
    "original message follows",
    "the attachment contains the original mail headers",
    "the first ",
    "unsent message below",
    "your message reads (in part):",
)
_AFTER = (
    "\tthe postfix ",
    "a summary of the undelivered message you sent follows:",
    "the following is the error message",
    "the message that you sent was undeliverable to the following",
    "your message was not delivered to ",
)
_SKIPPED = ("   -----", " -----", "--", "|--", "*")
_SKIPPED_ANYWHERE = ("mail from:", "message-id:", "  from: ")
_BEFORE_ADDRESS = (
    "address:",
    "addressed to",
    "could not be delivered to:",
    "delivered to",
    "delivery failed:",
    "did not reach the following recipient:",
    "error-for:",
    "failed recipient:",
    "failed to deliver to",
    "intended recipient:",
    "mailbox is full:",
    "recipient:",
    "rcpt to:",
    "smtp server <",
    "the following recipients returned permanent errors:",
    "the following addresses had permanent errors",
    "the following message to",
    "to: ",
    "unknown user:",
    "unable to deliver mail to the following recipient",
    "undeliverable to",
    "undeliverable address:",
    "you sent mail to",
    "your message has encountered delivery problems to the following recipients:",
    "was automatically rejected",
    "was rejected due to",
)
_SIGNS = {
    "from": ("postmaster@", "mailer-daemon@", "root@"),
    "return-path": ("<>", "mailer-daemon"),
    "subject": (
        *("delivery fail", "delivery report", "failure notice", "mail delivery", "mail failed", "mail error"),
        *("non-delivery", "returned mail", "undeliverable mail", "warning: "),
    ),
}
_ATTRIBUTES = {"action": "action", "status": "status", "remote-mta": "rhost", "reporting-mta": "rhost"}


def rfc3464(mail: Mail) -> Reading | None:
    reader = _Reader()
    for line in mail.body.split("\n"):
        if not reader.hear(line):
            break
    entries = reader.entries
    if not entries.found:
        _read_words(mail, entries)
    if not entries.found:
        return None
    agent = what_agent_says(mail)
    for entry in entries:
        if agent:
            entry.reason, entry.command = agent.reason, ""
            entry.diagnosis = agent.said or entry.diagnosis
        _conclude(entry)
    return Reading(entries, "\n".join(reader.returned) + "\n" if reader.returned else "", agent.name if agent else "")


class _Reader:
    def __init__(self) -> None:
        self.entries = Entries()
        self.returned: list[str] = []
        self._has_begun = self._is_returned = False
        self._blank = 0
        self._alias = ""
        self._before = ""

    def hear(self, line: str) -> bool:
        """Whether to go on."""
        above, self._before = self._before, line
        small = line[:200].lower()
        if not self._has_begun and small.startswith(_BEGINS):
            self._has_begun = True
        elif not self._is_returned and small in _RETURNED:
            self._is_returned = True
        elif self._is_returned:
            self._blank += not line
            if line:
                self.returned.append(line)
            return self._blank < 2
        elif self._has_begun and line:
            self._hear_line(line, above)
        return True

    def _hear_line(self, line: str, above: str) -> None:
        entry = self.entries.last
        if is_field(line):
            self._hear_field(line)
        elif line.startswith("Diagnostic-Code: ") and ";" not in line:
            entry.diagnosis = line.partition(": ")[2]
        elif line.startswith("Status: ") and find_reply(line[8:11]):
            entry.other = line[8:]
        elif above.startswith("Diagnostic-Code:") and line.startswith(" "):
            entry.diagnosis += f" {line}"
            self._before = f"Diagnostic-Code: {line}"
        elif not line.startswith((" ", "\t", "X")) and (
            find_reply(line) or (aligned(line, ("<", "@", ">")) and find_address(line))
        ):
            entry.other += f" {line}"

    def _hear_field(self, line: str) -> None:
        found = read_field(line)
        if not found:
            return
        entry, (name, kind, value) = self.entries.last, found
        if name == "original-recipient":
            self._alias = value
        elif name == "final-recipient":
            address = first_address(value)
            address = address if is_address(address) else self._alias or address
            if entry.recipient != address or not entry.recipient:
                entry = self.entries.begin(address)
            entry.alias = entry.alias or self._alias
            self._alias = ""
        elif name == "x-actual-recipient":
            entry.alias = entry.alias if " " in value else value
        elif name == "diagnostic-code":
            entry.spec, entry.diagnosis = kind, value
        elif name in _ATTRIBUTES:
            setattr(entry, _ATTRIBUTES[name], value)


def _read_words(mail: Mail, entries: Entries) -> None:
    if not any(sign in mail[name].lower() for name, signs in _SIGNS.items() for sign in signs):
        return
    body = mail.body
    for words in _AFTER:
        position = body.lower().find(words)
        body = body[position:] if position >= 0 else body
    above = ""
    for line in filter(None, body.split("\n")[:MAX_LINES]):
        small = line.lower()
        before, above = above, small
        if small in _RETURNED or small.startswith(_UNTIL) or any(words in small for words in _UNTIL_ANYWHERE):
            break
        if small.startswith(_SKIPPED) or any(words in small for words in _SKIPPED_ANYWHERE):
            continue
        _hear_words(entries, line, before)


def _hear_words(entries: Entries, line: str, before: str) -> None:
    small = line.lower()
    names = "@" in line and (
        line.startswith((" ", '"', "<"))
        or any(words in small for words in _BEFORE_ADDRESS)
        or ("." in line and "$" not in line and any(words in before for words in _BEFORE_ADDRESS))
    )
    if names:
        found = [first_address(word) for word in line.split() if "@" in word]
        recipient = next((address for address in found if is_address(address)), found[-1] if found else "")
        if recipient and entries.last.recipient != recipient:
            entries.begin(recipient)
    elif "(expanded from" in line or "(generated from" in line:
        entries.last.alias = first_address(line.rpartition(" ")[2])
    entries.last.diagnosis += f" {line}"


def _conclude(entry: Entry) -> None:
    if entry.other.strip():
        entry.diagnosis = entry.diagnosis or entry.other
        if entry.diagnosis.startswith("-") or entry.diagnosis.endswith("__"):
            entry.diagnosis = entry.other
    entry.diagnosis = swept(entry.diagnosis)
    entry.status = entry.status or find_status(entry.diagnosis)
    entry.command = entry.command or find_command(entry.diagnosis)


def addressed_in(returned: str) -> str:
    """To whom the mail that came back was addressed first."""
    return first_address(between(f"\n{returned}", "\nTo: ", "\n"))
