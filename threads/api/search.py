"""POST /inboxes/{inbox_id}/messages/search and GET /search"""

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.reads import record_found, record_listed
from audit.record import Act
from inboxes.api.views import InboxScopedView, visible_inboxes
from inboxes.permissions import MESSAGES_READ
from mailbot.api.errors import ApiError, Code, invalid
from mailbot.api.idempotency import REPLAYED
from mailbot.api.schema import described, shown_as
from mailbot.api.views import StrictSerializer
from mailbot.lib.stray_keys import without_keys
from threads.api import examples
from threads.api.serializers import MessageSerializer
from threads.api.views import represent_messages
from threads.models import Message
from threads.search import Cursor, Found, Match, Place, Rank, search, words_looked_for
from threads.search_highlights import highlights
from threads.search_index import catch_up, waiting
from threads.search_query import MAX_LENGTH, Node, UnreadableQuery, parse
from threads.shown import read_list_of_messages

AT_ONCE = 100  # messages that a search indexes itself, so that whoever has seen a mail finds it
MOST_OF_A_QUERY = 200  # characters in the trail
SEES_LONGER = 4 * MAX_LENGTH  # a query that is too long is answered with the place where it should have ended


@shown_as(examples.SEARCH_BODY)
class SearchBody(StrictSerializer):
    query = serializers.CharField(max_length=SEES_LONGER, trim_whitespace=False)
    limit = serializers.IntegerField(min_value=1, max_value=100, default=20)
    cursor = serializers.CharField(required=False, allow_null=True, max_length=500)


class SearchQuery(serializers.Serializer[Any]):
    query = serializers.CharField(max_length=SEES_LONGER, trim_whitespace=False)
    limit = serializers.IntegerField(min_value=1, max_value=100, default=20)
    cursor = serializers.CharField(required=False, max_length=500)


class HighlightSerializer(serializers.Serializer[Any]):
    field = serializers.ChoiceField(choices=["subject", "from", "to", "attachments", "body"])
    text = serializers.CharField(help_text="HTML: <mark> around what was looked for, the mail's own text escaped")


@shown_as(examples.SEARCH_RESULT)
class SearchResultSerializer(MessageSerializer):
    score = serializers.IntegerField(help_text="the higher, the better")
    highlights = HighlightSerializer(many=True)

    class Meta(MessageSerializer.Meta):
        fields = [*MessageSerializer.Meta.fields, "score", "highlights"]


class SearchView(InboxScopedView):
    """What both searches do once it is known in which inboxes."""

    needs = MESSAGES_READ

    def note_found(self, asked: dict[str, Any], found: list[Message], inbox_id: str) -> None:
        """In the trail of the inbox that was searched, or of each in which something was found."""
        account_id, told = self.key.account_id, {"query": shown_query(asked["query"])}
        if inbox_id:
            ids = [message.pk for message in found]
            record_listed(Act.SEARCH_DONE, "message", ids, account_id=account_id, inbox_id=inbox_id, **told)
        else:
            record_found(Act.SEARCH_DONE, "message", found, account_id=account_id, **told)

    def answer(self, inbox_ids: Sequence[str], asked: dict[str, Any], inbox_id: str = "") -> Response:
        query, cursor = read_query_text(asked["query"]), read_cursor(asked.get("cursor"))
        catch_up(inbox_ids, AT_ONCE)
        found = search(inbox_ids, query, asked["limit"], cursor)
        meta = {
            "page": 1,
            "limit": asked["limit"],
            "total": found.total,
            "next_cursor": written_cursor(found.next_cursor),
            "not_yet_indexed": waiting(inbox_ids),
        }
        if not found.is_exact:
            meta["total_is_exact"] = False
        messages = self.found_messages(found)
        self.note_found(asked, messages, inbox_id)
        return Response({"data": self.represented(found, messages, query), "meta": meta})

    def found_messages(self, found: Found) -> list[Message]:
        """A message that was erased since it was found is left out."""
        ids = [match.message_id for match in found.matches]
        rows = Message.objects.filter(pk__in=ids, account_id=self.key.account_id)
        messages = {message.pk: message for message in read_list_of_messages(rows)}
        return [messages[message_id] for message_id in ids if message_id in messages]

    def represented(self, found: Found, ordered: list[Message], query: Node) -> list[dict[str, Any]]:
        matches: dict[str, Match] = {match.message_id: match for match in found.matches}
        words = list(words_looked_for(query))
        return [
            {**shown, "score": matches[message.pk].rank.score, "highlights": highlights(message, words)}
            for shown, message in zip(represent_messages(ordered), ordered, strict=True)
        ]


class InboxSearchView(SearchView):
    """POST /inboxes/{inbox_id}/messages/search"""

    @described("Search an inbox", body=SearchBody, answer=SearchResultSerializer, many=True)
    def post(self, request: Request, inbox_id: str) -> Response:
        """Messages that match `query`, the best first. The language: words, "phrases", beginnings*, -not, OR, (…), and
        `from: to: subject: label: has:attachment|code|link after: before: thread:`."""
        inbox = self.get_inbox(inbox_id)
        return self.answer([inbox.pk], self.body(SearchBody, request), inbox.pk)

    def _post_once(self, post: Callable[..., Response], request: Request, *args: Any, **kwargs: Any) -> Response:
        """An answer that was kept for this Idempotency-Key is read once more."""
        answer = super()._post_once(post, request, *args, **kwargs)
        if REPLAYED in answer.headers:
            ids = [message["id"] for message in answer.data["data"]]
            place = {"account_id": self.key.account_id, "inbox_id": kwargs["inbox_id"]}
            record_listed(
                Act.SEARCH_DONE, "message", ids, **place, query=shown_query(self.body(SearchBody, request)["query"])
            )
        return answer


class AccountSearchView(SearchView):
    """GET /search"""

    @described("Search all inboxes that the key may see", query=SearchQuery, answer=SearchResultSerializer, many=True)
    def get(self, request: Request) -> Response:
        """The same language and answer as the search of one inbox."""
        asked = self.query(SearchQuery)
        inboxes = visible_inboxes(self.key).filter(message_count__gt=0).order_by()
        return self.answer(list(inboxes.values_list("pk", flat=True)), asked)


def shown_query(text: str) -> str:
    """As the trail keeps it: its beginning, without a key that may stand in it."""
    return without_keys(text)[:MOST_OF_A_QUERY]


def read_query_text(text: str) -> Node:
    """Raises a 400 that points at the place."""
    try:
        return parse(text)
    except UnreadableQuery as error:
        reason = f"{error.reason} At character {error.position + 1}; expected: {error.expected}."
        raise ApiError(
            Code.INVALID_REQUEST,
            f"query: {reason}",
            fix=f"Expected there: {error.expected}. The language is described in the documentation of search.",
            fields={"query": [reason]},
            position=error.position,
            excerpt=error.excerpt,
        ) from error


def written_cursor(cursor: Cursor | None) -> str | None:
    if cursor is None:
        return None
    values: list[Any] = [cursor.earlier, *_written_place(cursor.window)]
    if cursor.last is not None:
        values += [cursor.last.score, *_written_place(cursor.last.place)]
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def read_cursor(text: str | None) -> Cursor | None:
    """A cursor only says where to go on among what the key may see anyway, so it needs no signature."""
    if not text:
        return None
    try:
        match orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)):
            case [int(earlier), str(at), int(number)] if earlier >= 0:
                return Cursor(_read_place(at, number), None, earlier)
            case [int(earlier), str(at), int(number), int(score), str(last_at), int(last_number)] if earlier >= 0:
                return Cursor(_read_place(at, number), Rank(score, _read_place(last_at, last_number)), earlier)
    except (ValueError, OverflowError):
        pass
    raise invalid("cursor", "This is not a cursor of a search.", "Use meta.next_cursor as it was given.")


def _written_place(place: Place) -> tuple[str, int]:
    return place.created_at.astimezone(UTC).isoformat(), place.id


def _read_place(at: str, number: int) -> Place:
    moment = datetime.fromisoformat(at)
    if moment.tzinfo is None or not 0 <= number < 2**63:
        raise ValueError("not a place of ours")
    return Place(moment.astimezone(UTC), number)
