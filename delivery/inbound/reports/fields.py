"""The fields of a delivery status report (RFC 3464), wherever they stand in a text."""

import re
from collections.abc import Callable, Iterator

from delivery.inbound.reports.entries import Entries
from delivery.inbound.reports.text import swept

_SIGN_OF = {
    "arrival-date": ":",
    "received-from-mta": ";",
    "reporting-mta": ";",
    "x-original-message-id": "@",
    "action": "e",
    "diagnostic-code": ";",
    "final-recipient": ";",
    "last-attempt-date": ":",
    "original-recipient": ";",
    "remote-mta": ";",
    "status": ".",
    "x-actual-recipient": ";",
}
_ATTRIBUTE_OF = {
    "action": "action",
    "received-from-mta": "lhost",
    "remote-mta": "rhost",
    "reporting-mta": "rhost",
    "status": "status",
}
_TYPED = re.compile(r"([A-Za-z-]+): ([^;]+);[ ]*(.*)")
_ACTION = re.compile(r"Action: (delayed|deliverable|delivered|expanded|expired|failed|failure|relayed)", re.IGNORECASE)
_STATUS = re.compile(r"Status: ([245]\.\d+\.\d+)")
_ACTION_MEANT = {"deliverable": "delivered", "expired": "delayed", "failure": "failed"}

Begins = Callable[[str], bool]


def is_field(line: str) -> bool:
    """Whether the line is a field of a report, though perhaps one that cannot be read."""
    sign = _SIGN_OF.get(line.partition(":")[0].lower())
    return sign is not None and sign in line


def read_field(line: str) -> tuple[str, str, str] | None:
    """Name in small letters, type in capitals (`SMTP`, `RFC822`, `DNS`; empty where fields have none) and value."""
    name = line.partition(":")[0].lower()
    if name == "action":
        match = _ACTION.match(line)
        return (name, "", _ACTION_MEANT.get(match[1].lower(), match[1].lower())) if match else None
    if name == "status":
        match = _STATUS.match(line)
        return (name, "", match[1]) if match else None
    if name.endswith(("-date", "-message-id")) and name in _SIGN_OF:
        return name, "", line.partition(":")[2].strip()
    match = _TYPED.match(line) if name in _SIGN_OF else None
    if not match or (not match[3] and name != "diagnostic-code"):
        return None
    value = match[3].lower() if name.endswith("-mta") else match[3]
    return name, match[2].upper(), "" if value.isspace() else value


class FieldReader:
    """Reads the fields of all recipients, and hands every other line to the dialect."""

    def __init__(self, entries: Entries | None = None) -> None:
        self.entries = Entries() if entries is None else entries
        self.of_all: dict[str, str] = {}
        self._line = ""

    def walk(self, text: str, begins: Begins, *, inclusive: bool = False) -> Iterator[tuple[str, bool]]:
        """Each line behind the first one that `begins` that is no field, and whether it stands below a Diagnostic-Code.

        `inclusive`: with that line, and with blank ones.
        """
        begun = False
        self._line = ""
        for line in text.split("\n"):
            before, self._line = self._line, line
            if not begun:
                begun = begins(line)
                if not (begun and inclusive):
                    continue
            if is_field(line):
                self._take(line)
            elif line or inclusive:
                yield line, before.startswith("Diagnostic-Code:")

    def all_of(self, text: str, begins: Begins) -> Entries:
        """The same for dialects that care for nothing else."""
        for line, is_below in self.walk(text, begins):
            if is_below and line.startswith(" "):
                self.fold(line)
        return self.complete()

    def fold(self, line: str) -> None:
        """The line goes on with the diagnosis above it."""
        self.entries.last.diagnosis += f" {swept(line)}"
        self._line = f"Diagnostic-Code: {line}"

    def complete(self) -> Entries:
        for entry in self.entries:
            entry.fill(self.of_all)
            entry.diagnosis = swept(entry.diagnosis)
        return self.entries

    def _take(self, line: str) -> None:
        found = read_field(line)
        if not found:
            if line.startswith("Diagnostic-Code: "):
                self.entries.last.diagnosis = self.entries.last.diagnosis or line.partition(":")[2].strip()
            return
        name, kind, value = found
        entry = self.entries.last
        if name == "final-recipient":
            self.entries.begin(value)
        elif name.endswith("-recipient"):
            entry.alias = value
        elif name == "diagnostic-code":
            entry.spec = "SMTP" if kind == "X-POSTFIX" else kind
            entry.diagnosis = value
        elif name in _ATTRIBUTE_OF:
            attribute = _ATTRIBUTE_OF[name]
            setattr(entry, attribute, value)
            self.of_all[attribute] = value


def starting_with(*beginnings: str) -> Begins:
    return lambda line: line.startswith(beginnings)


def being(*lines: str) -> Begins:
    return lambda line: line in lines


def having(*words: str) -> Begins:
    return lambda line: any(word in line for word in words)
