"""What dialects have in common: tables of words, and two ways to read a text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from delivery.inbound.reports.codes import find_status
from delivery.inbound.reports.entries import MAX_RETURNED, Entries, Entry, Reading
from delivery.inbound.reports.fields import Begins, FieldReader
from delivery.inbound.reports.text import Mail, cut, swept

RETURNED = "Content-Type: message/rfc822"
RETURNED_HEADER = "Content-Type: text/rfc822-headers"
Words = Mapping[str, Sequence[str]]


def guess(entry: Entry, words: Words, text: str | None = None) -> None:
    """The first reason of which a phrase stands in the diagnosis (or in `text`), exactly as it is spelt."""
    said = entry.diagnosis if text is None else text
    for reason, phrases in words.items():
        if any(phrase in said for phrase in phrases):
            entry.reason = reason
            return


def lines_behind(text: str, begins: Begins, *, inclusive: bool = False) -> Iterator[str]:
    """The lines that are not blank behind the first one that begins the report."""
    begun = False
    for line in text.split("\n"):
        if not begun:
            begun = begins(line)
            if not (begun and inclusive):
                continue
        if line:
            yield line


def done(entries: Entries, returned: str, words: Words | None = None) -> Reading | None:
    """The reading of a text in which recipients were found."""
    if not entries.found:
        return None
    for entry in entries:
        entry.diagnosis = swept(entry.diagnosis)
        if words:
            guess(entry, words)
    return Reading(entries, returned)


def between(text: str, left: str, right: str) -> str:
    """What stands between the first `left` and the first `right` behind it."""
    _, found, behind = text.partition(left)
    inside, ended, _ = behind.partition(right)
    return inside if found and ended else ""


def with_field(returned: str, name: str, value: str) -> str:
    """The header of the returned mail with a field that the report tells in another way, unless that has it."""
    if len(returned) > MAX_RETURNED or f"\n{name}:" in f"\n{returned}":
        return returned
    return f"{returned}{name}: {value.strip()}\n"


def quoted_status(entry: Entry) -> str:
    """The status inside the words that a server's answer is quoted in, or anywhere."""
    said = entry.diagnosis
    starts = [position for quote in ("-'", '-"') if (position := said.find(quote)) >= 0]
    ends = [position for quote in ("' ", '" ') if (position := said.rfind(quote)) >= 0]
    return find_status(said[starts[0] + 2 : ends[0]] if starts and ends else said)


@dataclass(frozen=True, slots=True)
class FieldDialect:
    """A report that is all fields, behind a line by which it is known."""

    speaks: Callable[[Mail], bool]
    begins: Begins
    boundaries: tuple[str, ...] = (RETURNED,)
    words: Words = field(default_factory=dict)
    any_case: bool = False  # the words are in small letters
    finish: Callable[[Entry], None] | None = None

    def __call__(self, mail: Mail) -> Reading | None:
        if not self.speaks(mail):
            return None
        report, returned = cut(mail.body, self.boundaries)
        entries = FieldReader().all_of(report, self.begins)
        if not entries.found:
            return None
        for entry in entries:
            guess(entry, self.words, entry.diagnosis.lower() if self.any_case else None)
            if self.finish:
                self.finish(entry)
        return Reading(entries, returned)
