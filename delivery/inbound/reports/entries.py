"""What a dialect finds in a report: an entry for each recipient, and the header of the mail that came back."""

from dataclasses import dataclass

MAX_SAID = 4000  # characters of what a server said that are kept
MAX_RECIPIENTS = 500  # of one report
MAX_RETURNED = 50_000


class Entry:
    """One recipient. Empty: not told. `reason` is a guess of the dialect's, which `reasons.decide` may overrule.

    `diagnosis` is what the server said, `other` are words that are it when there is none. Both are cut where they get too long, so that
    dialects may add lines to them as often as a hostile mail makes them.
    """

    __slots__ = (
        *("_diagnosis", "_other", "action", "alias", "command", "lhost", "reason", "recipient", "reply", "rhost"),
        *("spec", "status"),
    )

    def __init__(self, recipient: str = "", reason: str = "") -> None:
        self.recipient = recipient
        self.reason = reason
        self.alias = self.action = self.status = self.reply = self.command = self.spec = self.rhost = self.lhost = ""
        self._diagnosis = self._other = ""

    @property
    def diagnosis(self) -> str:
        return self._diagnosis

    @diagnosis.setter
    def diagnosis(self, said: str) -> None:
        self._diagnosis = said[:MAX_SAID]

    @property
    def other(self) -> str:
        return self._other

    @other.setter
    def other(self, said: str) -> None:
        self._other = said[:MAX_SAID]

    def fill(self, values: dict[str, str]) -> None:
        """What holds for the whole report, where the entry says nothing of its own."""
        for name, value in values.items():
            if not getattr(self, name):
                setattr(self, name, value)


class Entries(list[Entry]):
    """Entries in the order of the report; the last one is being written. What goes beyond MAX_RECIPIENTS is dropped."""

    def __init__(self) -> None:
        super().__init__([Entry()])
        self.found = 0
        self._dropped = Entry()

    @property
    def last(self) -> Entry:
        return self[-1] if self.found <= MAX_RECIPIENTS else self._dropped

    def begin(self, recipient: str) -> Entry:
        """The entry of another recipient."""
        self.found += 1
        if self.found > MAX_RECIPIENTS:
            self.found = MAX_RECIPIENTS + 1
            self._dropped = Entry(recipient)
            return self._dropped
        if self[-1].recipient:
            self.append(Entry())
        self[-1].recipient = recipient
        return self[-1]


@dataclass(slots=True)
class Reading:
    """What one dialect made of a report. `returned`: the header of the mail that it is about, as far as it came back."""

    entries: list[Entry]
    returned: str = ""
    agent: str = ""
