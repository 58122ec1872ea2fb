"""Searching: which messages of some inboxes match a query, the best first.

The rank is ours and not the database's: bm25 weighs a word by how rare it is among all documents, so that other tenants' mail would
change the order, and would show in it. Here a document is weighed by itself: for each word that is looked for, by the fields that have it
(WEIGHTS); among equals the newest is first.

So that neither a common word nor a large inbox makes a search slow, the newest RANKED matches are ranked, then the next RANKED: a window
each. A cursor says where its window begins and which document was given last, so what arrives meanwhile moves nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import add, and_, or_

from django.db.models import Case, Expression, F, IntegerField, Q, QuerySet, Value, When
from django.db.models.functions import StrIndex
from django.db.models.lookups import GreaterThan

from threads.models import SearchDocument
from threads.search_engines import is_answered, is_found, wanted
from threads.search_query import After, AllOf, AnyOf, Before, Feature, Field, Has, InThread, Label, Node, Not, Words

RANKED = 1000
MOST_WEIGHED = 10  # words and phrases; a query of more is ranked by its first ones
WEIGHTS = {"subject": 8, "sender": 4, "recipients": 4, "files": 4, "body": 1}
COLUMNS: dict[Field | None, tuple[str, ...]] = {
    Field.FROM: ("sender",),
    Field.TO: ("recipients",),
    Field.SUBJECT: ("subject",),
    None: tuple(WEIGHTS),
}
FEATURES = {
    Feature.ATTACHMENT: Q(message__attachment_count__gt=0),
    Feature.CODE: ~Q(message__codes=[]),
    Feature.LINK: ~Q(message__links=[]),
}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Of a document in the order of time: a later one is greater."""

    created_at: datetime
    id: int


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """Of a document within its window: the greatest is the first."""

    score: int
    place: Place


@dataclass(frozen=True, slots=True)
class Cursor:
    """Go on in the window of documents before `window`, behind `last`; without `last`, at its beginning.

    `earlier` is how many matches there were in the windows before it.
    """

    window: Place
    last: Rank | None
    earlier: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    message_id: str
    rank: Rank


@dataclass(frozen=True, slots=True)
class Found:
    """`total` is how many match, as far as was looked: there may be more when it is not `is_exact`."""

    matches: list[Match]
    total: int
    is_exact: bool
    next_cursor: Cursor | None


def search(inbox_ids: Sequence[str], query: Node, limit: int, cursor: Cursor | None = None) -> Found:
    """One page of what matches `query` in these inboxes. What is not indexed yet is not found: threads.search_index."""
    if not inbox_ids:
        return Found([], 0, True, None)
    ranked = _window(inbox_ids, query, cursor.window if cursor else None)
    total = len(ranked) + (cursor.earlier if cursor else 0)
    rest = [match for match in ranked if match.rank < cursor.last] if cursor and cursor.last else ranked
    return Found(rest[:limit], total, len(ranked) < RANKED, _next(ranked, rest, limit, cursor))


def _next(ranked: list[Match], rest: list[Match], limit: int, cursor: Cursor | None) -> Cursor | None:
    places, earlier = [match.rank.place for match in ranked], cursor.earlier if cursor else 0
    if len(rest) > limit:
        window = cursor.window if cursor else _behind(max(places))
        return Cursor(window, rest[limit - 1].rank, earlier)
    return Cursor(min(places), None, earlier + RANKED) if len(ranked) == RANKED else None


def _behind(place: Place) -> Place:
    return Place(place.created_at, place.id + 1)


def _window(inbox_ids: Sequence[str], query: Node, before: Place | None) -> list[Match]:
    """The newest RANKED matches before that place, the best first."""
    documents = _matching(inbox_ids, query)
    if before is not None:
        older = Q(created_at__lt=before.created_at) | Q(created_at=before.created_at, id__lt=before.id)
        documents = documents.filter(older)
    newest = documents.order_by("-created_at", "-id").values("pk")[:RANKED]
    rows = SearchDocument.objects.filter(pk__in=newest).annotate(score=_score(query))
    found = [
        Match(message_id, Rank(score, Place(created_at, number)))
        for message_id, score, created_at, number in rows.values_list("message_id", "score", "created_at", "id")
    ]
    return sorted(found, key=lambda match: match.rank, reverse=True)


def _matching(inbox_ids: Sequence[str], query: Node) -> QuerySet[SearchDocument]:
    documents = SearchDocument.objects.filter(inbox_id__in=inbox_ids)
    if entries := wanted(query):
        documents = documents.filter(is_found(inbox_ids, entries))
    parts = query.parts if isinstance(query, AllOf) else (query,)
    for part in parts:
        if not is_answered(part):
            documents = documents.filter(_condition(part))
    return documents


def _condition(node: Node) -> Q:
    match node:
        case Words():
            return reduce(or_, (Q(_has(node, column)) for column in COLUMNS[node.field]))
        case Label():
            return Q(message__labels__has_item=node.name)
        case Has():
            return FEATURES[node.feature]
        case InThread():
            return Q(message__thread_id=node.thread_id)
        case After():
            return Q(created_at__gte=node.moment)
        case Before():
            return Q(created_at__lt=node.moment)
        case Not():
            return ~_condition(node.part)
        case AllOf():
            return reduce(and_, map(_condition, node.parts))
        case AnyOf():
            return reduce(or_, map(_condition, node.parts))


def _has(words: Words, column: str) -> GreaterThan:
    """The words of a column have a space before and behind each, so that a plain search for text finds whole words."""
    ending = "" if words.is_prefix else " "
    return GreaterThan(StrIndex(F(column), Value(f" {' '.join(words.words)}{ending}")), 0)


def _score(query: Node) -> Expression:
    weighed = list(words_looked_for(query))[:MOST_WEIGHED]
    cases = [
        Case(When(_has(words, column), then=Value(WEIGHTS[column])), default=Value(0), output_field=IntegerField())
        for words in weighed
        for column in COLUMNS[words.field]
    ]
    return reduce(add, cases, Value(0, output_field=IntegerField()))


def words_looked_for(node: Node) -> Iterator[Words]:
    """Those that a match may have, in the order of the query; not those behind a minus."""
    match node:
        case Words():
            yield node
        case AllOf() | AnyOf():
            for part in node.parts:
                yield from words_looked_for(part)
