"""Where the words of a query stand in a message, for a reader's eye: pieces of its texts with <mark> around them.

Pieces are HTML: what the mail itself says is escaped, so they can be shown as they are. They are made from the stored texts, for the few
messages of a page, and not by the database: so they are the same on both.
"""

import html
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypedDict

from threads.models import Message
from threads.search_query import Field, Words
from threads.search_words import Span, spans_of

LONGEST_LOOKED_AT = 50_000  # characters of a text
AROUND = 60  # characters shown before the first mark of a piece, and behind its last
WIDEST = 160  # characters from the first mark to the last
PIECES_OF_A_BODY = 3
MARKS_LOOKED_FOR = 100

Range = tuple[int, int]


class Highlight(TypedDict):
    """`field`: subject, from, to, attachments or body."""

    field: str
    text: str


def highlights(message: Message, query_words: Sequence[Words]) -> list[Highlight]:
    found: list[Highlight] = []
    for name, field, text, most in _texts(message):
        words = [each for each in query_words if each.field in (None, field)]
        text = text[:LONGEST_LOOKED_AT]
        found += ({"field": name, "text": piece} for piece in _pieces(text, _marks(text, words), most))
    return found


def _texts(message: Message) -> Iterator[tuple[str, Field | None, str, int]]:
    people = [*message.to, *message.cc, *message.bcc]
    yield "subject", Field.SUBJECT, message.subject, 1
    yield "from", Field.FROM, f"{message.from_name} <{message.from_address}>".strip(), 1
    yield "to", Field.TO, ", ".join(f"{person['name']} <{person['address']}>".strip() for person in people), 1
    yield "attachments", None, ", ".join(attachment.filename for attachment in message.attachments.all()), 1
    yield "body", None, message.body_text or message.extracted_text, PIECES_OF_A_BODY


def _marks(text: str, query_words: Sequence[Words]) -> list[Range]:
    """The places of the words, in order; those that touch are one."""
    if not text or not query_words:
        return []
    spans = spans_of(text)
    joined = f" {' '.join(span.word for span in spans)} "
    offsets = list(accumulate((len(span.word) + 1 for span in spans), initial=0))
    merged: list[Range] = []
    for start, end in sorted(place for words in query_words for place in _places(spans, joined, offsets, words)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _places(spans: Sequence[Span], joined: str, offsets: Sequence[int], words: Words) -> Iterable[Range]:
    """By a plain search through the words, `joined`, where word number n has its space at `offsets[n]`: looking at each word for each of
    the query would be quadratic, and a query is long where somebody wants it to be."""
    looked_for = f" {' '.join(words.words)}{'' if words.is_prefix else ' '}"
    found = -1
    for _ in range(MARKS_LOOKED_FOR):
        found = joined.find(looked_for, found + 1)
        if found < 0:
            return
        first = bisect_left(offsets, found)
        yield spans[first].start, spans[first + len(words.words) - 1].end


def _pieces(text: str, marks: Sequence[Range], most: int) -> Iterator[str]:
    rest = list(marks)
    for _ in range(most):
        if not rest:
            return
        near = [mark for mark in rest if mark[1] - rest[0][0] <= WIDEST] or rest[:1]
        yield _piece(text, near)
        rest = [mark for mark in rest if mark[0] >= near[-1][1] + AROUND]


def _piece(text: str, marks: Sequence[Range]) -> str:
    start, end = _outward(text, marks[0][0], marks[-1][1])
    parts, at = ["…" if start else ""], start
    for first, last in marks:
        parts += [_plain(text[at:first]), "<mark>", _plain(text[first:last]), "</mark>"]
        at = last
    parts += [_plain(text[at:end]), "…" if end < len(text) else ""]
    return "".join(parts)


def _outward(text: str, first: int, last: int) -> Range:
    """A little more on both sides, but no half words where a space is near."""
    start, end = max(0, first - AROUND), min(len(text), last + AROUND)
    if start and (space := text.find(" ", start, first)) >= 0:
        start = space + 1
    if end < len(text) and (space := text.rfind(" ", last, end)) >= 0:
        end = space
    return start, end


def _plain(text: str) -> str:
    """Escaped, and in one line."""
    return html.escape("".join(" " if c.isspace() else c for c in text))
