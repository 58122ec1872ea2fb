r"""The language of search: from what somebody wrote to a tree, or to an error that points at the place.

    query        = sequence
    sequence     = alternatives { [ "AND" ] alternatives }      all of them
    alternatives = negatable { "OR" negatable }                  one of them; OR binds its two neighbours, as with Gmail
    negatable    = [ "-" | "NOT" ] term
    term         = "(" sequence ")" | field ":" value | value
    value        = word [ "*" ] | quoted [ "*" ]
    quoted       = '"' { any character; \" and \\ stand for " and \ } '"'

OR, AND and NOT are operators in capitals only. What a word is, is threads.search_words' business: a value of several words is a phrase.
A value without any letter or digit is passed over, unless nothing else is there.
"""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from mailbot.lib.ids import is_id
from threads.filters import BadMoment, read_moment
from threads.search_words import words_of

MAX_LENGTH = 1000  # characters
MAX_TERMS = 50
MAX_DEPTH = 10
MAX_LABEL = 100
EXCERPT = 60  # characters shown around the place of an error


class Field(StrEnum):
    """Where words are looked for when a query says so."""

    FROM = "from"
    TO = "to"
    SUBJECT = "subject"


class Feature(StrEnum):
    """What `has:` can ask for."""

    ATTACHMENT = "attachment"
    CODE = "code"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Words:
    """These words in a row; with `is_prefix` the last one is only the beginning of a word."""

    words: tuple[str, ...]
    field: Field | None = None
    is_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    name: str


@dataclass(frozen=True, slots=True)
class Has:
    feature: Feature


@dataclass(frozen=True, slots=True)
class InThread:
    thread_id: str


@dataclass(frozen=True, slots=True)
class After:
    """Filed at that moment or later."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class Before:
    """Filed before that moment."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class Not:
    part: "Node"


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Node", ...]


Node: TypeAlias = Words | Label | Has | InThread | After | Before | Not | AllOf | AnyOf


class UnreadableQuery(ValueError):
    """`position` is the index of a character of the query (or its length: at the end), `expected` what could stand there."""

    def __init__(self, reason: str, text: str, position: int, expected: str) -> None:
        super().__init__(reason)
        self.reason, self.text, self.position, self.expected = reason, text, position, expected

    @property
    def excerpt(self) -> str:
        """Two lines: a piece of the query, and a caret below the place."""
        start = max(0, self.position - EXCERPT // 2)
        piece = "".join(c if c.isprintable() else " " for c in self.text[start : start + EXCERPT])
        return f"{piece}\n{' ' * (self.position - start)}^"


def parse(text: str) -> Node:
    """The tree of a query. Raises UnreadableQuery and nothing else."""
    return _Parser(text).parsed()


def written(node: Node) -> str:
    """A query that is read as `node` again."""
    return " ".join(map(_as_part, node.parts)) if isinstance(node, AllOf) else _as_part(node)


def _as_part(node: Node) -> str:
    match node:
        case Words():
            field = f"{node.field}:" if node.field else ""
            plain = node.words[0] if len(node.words) == 1 else f'"{" ".join(node.words)}"'
            return f"{field}{plain}{'*' if node.is_prefix else ''}"
        case Label():
            escaped = node.name.replace("\\", "\\\\").replace('"', '\\"')
            return f'label:"{escaped}"'
        case Has():
            return f"has:{node.feature}"
        case InThread():
            return f"thread:{node.thread_id}"
        case After():
            return f"after:{node.moment.isoformat()}"
        case Before():
            return f"before:{node.moment.isoformat()}"
        case Not():
            return f"-{_as_term(node.part)}"
        case AllOf():
            return f"({written(node)})"
        case AnyOf():
            return " OR ".join(_as_alternative(part) for part in node.parts)


def _as_term(node: Node) -> str:
    return f"({written(node)})" if isinstance(node, (Not, AllOf, AnyOf)) else _as_part(node)


def _as_alternative(node: Node) -> str:
    return _as_part(node) if isinstance(node, Not) else _as_term(node)


_BARE = re.compile(r'[^\s"()]+')
_FIELD = re.compile(r"([A-Za-z_]+):(?!//)")
_OPERATOR = re.compile(r"(OR|AND|NOT)(?![^\s()])")
_MINUS = re.compile(r"-(?=[^\s)])")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r'\\(["\\])')
ANYTHING = 'a word, a "phrase", field:value or (…)'


@dataclass(frozen=True, slots=True)
class _Value:
    text: str
    position: int
    is_prefix: bool


class _Parser:
    """Recursive descent; each method reads what the grammar calls by its name, from `at` on."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.terms = text, 0, 0

    def parsed(self) -> Node:
        self._check_characters()
        node = self._sequence(0)
        if not self._is_at_end():  # a sequence ends there, or at a bracket that it did not open
            raise self._error("This bracket closes nothing.", self.at, ANYTHING)
        if node is None:
            raise self._error("There is nothing to look for.", 0, ANYTHING)
        return node

    def _check_characters(self) -> None:
        if len(self.text) > MAX_LENGTH:
            raise self._error(f"The query is longer than {MAX_LENGTH} characters.", MAX_LENGTH, "the end of the query")
        for position, character in enumerate(self.text):
            if (character < " " and not character.isspace()) or "\ud800" <= character <= "\udfff":
                raise self._error("This character cannot be looked for.", position, "text")

    def _sequence(self, depth: int) -> Node | None:
        parts: list[Node | None] = []
        while not self._is_at_end() and self.text[self.at] != ")":
            place = self.at
            if parts and self._operator() == "AND":
                self.at += 3
                self._needs_operand("AND", place)
            parts.append(self._alternatives(depth))
        return _joined(AllOf, parts)

    def _alternatives(self, depth: int) -> Node | None:
        parts = [self._negatable(depth)]
        while not self._is_at_end() and self._operator() == "OR":
            place = self.at
            self.at += 2
            self._needs_operand("OR", place)
            parts.append(self._negatable(depth))
        return _joined(AnyOf, parts)

    def _negatable(self, depth: int) -> Node | None:
        operator, place = self._operator(), self.at
        if operator == "NOT":
            self.at += 3
            self._needs_operand("NOT", place)
            inner = self._negatable(self._deeper(depth, place))
        elif operator:
            raise self._error(f"{operator} needs something on both sides.", place, ANYTHING)
        elif _MINUS.match(self.text, place):
            self.at += 1
            inner = self._term(depth)
        else:
            return self._term(depth)
        return None if inner is None else Not(inner)

    def _term(self, depth: int) -> Node | None:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise self._error(f"The query has more than {MAX_TERMS} terms.", self.at, "the end of the query")
        if self.text[self.at] == "(":
            return self._group(depth)
        if field := _FIELD.match(self.text, self.at):
            return self._field(field)
        return _words(self._value())

    def _group(self, depth: int) -> Node | None:
        place = self.at
        deeper = self._deeper(depth, place)
        self.at += 1
        if self._is_at_end() or self.text[self.at] == ")":
            raise self._error("There is nothing between these brackets.", place, ANYTHING)
        node = self._sequence(deeper)
        if self._is_at_end():
            raise self._error("This bracket is not closed.", place, "a “)” further on")
        self.at += 1
        return node

    def _field(self, match: re.Match[str]) -> Node | None:
        name, place = match[1].lower(), match.start()
        read = _FIELDS.get(name)
        value_follows = match.end() < len(self.text) and not self.text[match.end()].isspace()
        if read is None:
            if not value_follows:  # `Re:` and the like
                return _words(self._value())
            near = difflib.get_close_matches(name, _FIELDS, n=1)
            hint = f" Did you mean “{near[0]}:”?" if near else " To look for these words, put them in quotation marks."
            raise self._error(f"There is no field “{match[1]}”.{hint}", place, f"one of {', '.join(_FIELDS)}")
        if not value_follows or self.text[match.end()] in "()":
            raise self._error(f"{name}: needs a value right behind it.", match.end(), _EXPECTED[name])
        self.at = match.end()
        return self._read_value(name, read, self._value())

    def _read_value(self, name: str, read: Callable[[str, "_Value"], Node | None], value: _Value) -> Node:
        if value.is_prefix and name not in list(Field):
            raise self._error(f"{name}: takes no “*”.", value.position, _EXPECTED[name])
        node = read(name, value)
        if node is None:
            raise self._error(f"“{value.text[:40]}” is no value for {name}:.", value.position, _EXPECTED[name])
        return node

    def _value(self) -> _Value:
        place = self.at
        if self.text[place] == '"':
            quoted = _QUOTED.match(self.text, place)
            if quoted is None:
                raise self._error("This quotation mark is not closed.", place, 'a “"” further on')
            self.at = quoted.end()
            is_prefix = self.text.startswith("*", self.at)
            self.at += is_prefix
            return _Value(_ESCAPE.sub(r"\1", quoted[1]), place, is_prefix)
        bare = _BARE.match(self.text, place)
        assert bare is not None, "the callers have seen that something stands here"
        self.at = bare.end()
        return _Value(bare[0].removesuffix("*"), place, bare[0].endswith("*"))

    def _operator(self) -> str:
        match = _OPERATOR.match(self.text, self.at)
        return match[1] if match else ""

    def _needs_operand(self, operator: str, place: int) -> None:
        if self._is_at_end() or self.text[self.at] == ")":
            sides = "something behind it" if operator == "NOT" else "something on both sides"
            raise self._error(f"{operator} needs {sides}.", place, ANYTHING)

    def _deeper(self, depth: int, place: int) -> int:
        if depth == MAX_DEPTH:
            raise self._error(f"The query is nested more than {MAX_DEPTH} times.", place, 'a word or a "phrase"')
        return depth + 1

    def _is_at_end(self) -> bool:
        """Passes over the spaces before what comes next."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.at == len(self.text)

    def _error(self, reason: str, position: int, expected: str) -> UnreadableQuery:
        return UnreadableQuery(reason, self.text, position, expected)


def _joined(kind: type[AllOf] | type[AnyOf], parts: list[Node | None]) -> Node | None:
    found = tuple(part for part in parts if part is not None)
    return kind(found) if len(found) > 1 else found[0] if found else None


def _words(value: _Value, field: Field | None = None) -> Words | None:
    words = tuple(words_of(value.text))
    return Words(words, field, value.is_prefix) if words else None


def _words_in_field(name: str, value: _Value) -> Node | None:
    return _words(value, Field(name))


def _label(name: str, value: _Value) -> Node | None:
    return Label(value.text) if 0 < len(value.text) <= MAX_LABEL else None


def _has(name: str, value: _Value) -> Node | None:
    feature = value.text.lower()
    return Has(Feature(feature)) if feature in list(Feature) else None


def _thread(name: str, value: _Value) -> Node | None:
    return InThread(value.text) if is_id(value.text, "thread") else None


def _time(name: str, value: _Value) -> Node | None:
    try:
        moment = read_moment(value.text.strip().replace(" ", "T"), "")
    except BadMoment:
        return None
    assert isinstance(moment, datetime), "no id has an empty prefix"
    return After(moment) if name == "after" else Before(moment)


_FIELDS: dict[str, Callable[[str, _Value], Node | None]] = {
    "from": _words_in_field,
    "to": _words_in_field,
    "subject": _words_in_field,
    "label": _label,
    "has": _has,
    "after": _time,
    "before": _time,
    "thread": _thread,
}
_MOMENT = "a date such as 2026-11-24 or a time such as 2026-11-24T10:00:00Z"
_EXPECTED = {
    "from": "a name or an address, or a part of one",
    "to": "a name or an address, or a part of one",
    "subject": 'a word or a "phrase"',
    "label": f"a label of at most {MAX_LABEL} characters",
    "has": "attachment, code or link",
    "after": _MOMENT,
    "before": _MOMENT,
    "thread": "the id of a thread: thread_…",
}
