"""What differs between PostgreSQL and SQLite in search: how the index is asked. Everything else is one query for both.

Each database is asked for the documents that have certain words at all, each word behind the scope of its inbox: PostgreSQL by a tsquery
for each inbox against a GIN index, SQLite by an FTS5 query for each. No other inbox's entries are read for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import orjson
from django.db import connection
from django.db.models import BooleanField, F, Func
from django.db.models.expressions import RawSQL

from threads.search_index import scope_of
from threads.search_query import AllOf, AnyOf, Node, Words

POSTGRESQL = "SELECT threads_search_found(%s::text[]::tsquery[])"
SQLITE = (
    "SELECT found.rowid FROM json_each(%s) AS query CROSS JOIN threads_searchindex AS found"
    " WHERE found.threads_searchindex MATCH query.value"
)
MOST_OF_A_PHRASE = 16  # words of a phrase that the index is asked for; the phrase itself is looked at anyway


@dataclass(frozen=True, slots=True)
class Entry:
    """A word of the index, or all that begin so."""

    word: str
    is_prefix: bool


@dataclass(frozen=True, slots=True)
class Every:
    parts: tuple["Wanted", ...]


@dataclass(frozen=True, slots=True)
class Some:
    parts: tuple["Wanted", ...]


Wanted: TypeAlias = Entry | Every | Some


def wanted(node: Node) -> Wanted | None:
    """What a document must have in the index to match; None where that cannot be said, as of `-word` or `label:x`."""
    match node:
        case Words():
            entries = [Entry(word, False) for word in node.words[:-1]] + [Entry(node.words[-1], node.is_prefix)]
            return Every(tuple(entries[-MOST_OF_A_PHRASE:]))
        case AllOf():
            found = tuple(part for inner in node.parts if (part := wanted(inner)))
            return Every(found) if found else None
        case AnyOf():
            found = tuple(part for inner in node.parts if (part := wanted(inner)))
            return Some(found) if len(found) == len(node.parts) else None
        case _:
            return None


def is_answered(node: Node) -> bool:
    """Whether a document matches whenever it has what is `wanted`, so that its texts need not be read."""
    match node:
        case Words():
            return len(node.words) == 1 and node.field is None
        case AllOf() | AnyOf():
            return all(map(is_answered, node.parts))
        case _:
            return False


def is_found(inbox_ids: Sequence[str], entries: Wanted) -> Func:
    """The condition that a document is one of `found_by_index`.

    On PostgreSQL as an array, which is made once: of a subquery, a plan that expects few documents makes a loop that asks the index again
    for each of them.
    """
    operator, template = (
        (" = ANY (ARRAY", "%(expressions)s)") if connection.vendor == "postgresql" else (" IN ", "%(expressions)s")
    )
    found = found_by_index(inbox_ids, entries)
    return Func(F("id"), found, template=template, arg_joiner=operator, output_field=BooleanField())


def found_by_index(inbox_ids: Sequence[str], entries: Wanted) -> RawSQL:
    """A subquery of the ids of documents of these inboxes that have `entries`."""
    scopes = [scope_of(inbox_id) for inbox_id in inbox_ids]
    if connection.vendor == "postgresql":
        return RawSQL(POSTGRESQL, [[tsquery(entries, scope) for scope in scopes]])  # noqa: S611 (our own text)
    matches = orjson.dumps([fts5(entries, scope) for scope in scopes]).decode()
    return RawSQL(SQLITE, [matches])  # noqa: S611 (our own text)


def tsquery(entries: Wanted, scope: str) -> str:
    """Words have letters and digits only, so nothing in them has to be escaped."""
    match entries:
        case Entry():
            return f"'{scope}{entries.word}'{':*' if entries.is_prefix else ''}"
        case Every():
            return f"({' & '.join(tsquery(part, scope) for part in entries.parts)})"
        case Some():
            return f"({' | '.join(tsquery(part, scope) for part in entries.parts)})"


def fts5(entries: Wanted, scope: str) -> str:
    match entries:
        case Entry():
            return f'"{scope}{entries.word}"{" *" if entries.is_prefix else ""}'
        case Every():
            return f"({' AND '.join(fts5(part, scope) for part in entries.parts)})"
        case Some():
            return f"({' OR '.join(fts5(part, scope) for part in entries.parts)})"
