"""GET /v1/inboxes/{inbox_id}/messages/wait: answered when a mail is there.

It is an ASGI application of its own and no Django view, because Django keeps a thread for each request under ASGI, and a wait
should cost none: 2,000 open waits are 2,000 coroutines. The few looks into the database run in a small pool that all waits share.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers

from audit.actors import acting_in
from audit.middleware import context_of
from inboxes.api.authentication import authenticated
from inboxes.api.views import visible_inboxes
from inboxes.models import Inbox
from inboxes.permissions import MESSAGES_READ
from mailbot.api.errors import ApiError, Code, as_api_error, invalid, log, not_found, our_fault
from mailbot.api.permissions import require
from mailbot.api.renderers import dumps, timestamp
from mailbot.api.views import is_plain_id, read_query
from threads.api.views import represent_message
from threads.filters import MESSAGE_FILTERS, BadMoment, narrowed, read_moment
from threads.models import Message
from threads.waiting import waiting_room

PATH = re.compile(r"/v1/inboxes/(?P<inbox_id>[^/]+)/messages/wait")
LONGEST_WAIT_MS = 25_000  # clients give up at 30 s
LOOKS_BACK = timedelta(seconds=60)
LOOKS_AT_MOST = 200
LOOKERS = 4
LOOKS_AT = ("sequence", "direction", "from_address", "subject", "codes", "links")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Result = TypeVar("Result")

_pool = ThreadPoolExecutor(LOOKERS, thread_name_prefix="wait-look")


class WaitQuery(serializers.Serializer[Any]):
    direction = serializers.ChoiceField(choices=Message.Direction.choices, default=Message.Direction.INBOUND)
    from_address = serializers.CharField(max_length=320, required=False)
    subject_contains = serializers.CharField(max_length=500, required=False)
    has_code = serializers.BooleanField(required=False, default=None, allow_null=True)
    has_link_host = serializers.CharField(max_length=253, required=False)
    after = serializers.CharField(max_length=40, required=False)
    timeout_ms = serializers.IntegerField(min_value=0, max_value=3_600_000, default=20_000)
    # Clients of servers that poll send it; here a wait is answered by the arrival itself.
    poll_interval_ms = serializers.IntegerField(min_value=0, required=False)


async def wait_application(scope: Scope, receive: Receive, send: Send) -> None:
    request = ASGIRequest(scope, BytesIO())
    with acting_in(context_of(request)):
        await _answer_unless_gone(request, scope["path"], receive, send)


async def _answer_unless_gone(request: ASGIRequest, path: str, receive: Receive, send: Send) -> None:
    """Whichever comes first: the answer, or the news that the client went away. Then the wait ends and its place is free."""
    answering = asyncio.ensure_future(_answer(request, path))
    leaving = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            await _respond(request, send, *answering.result())
    except asyncio.CancelledError:  # the server is stopping and will wait no longer
        fix = "Call again with the same parameters: nothing is missed."
        error = ApiError(Code.UNAVAILABLE, "This server is stopping.", fix=fix, headers={"Retry-After": "1"})
        await _respond(request, send, error.status, error.body(request.request_id), error.headers)  # type: ignore[attr-defined]
        raise
    finally:
        for task in (answering, leaving):
            task.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(request: ASGIRequest, path: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """(status, body, headers)"""
    try:
        return 200, {"data": await _wait(request, path)}, {}
    except Exception as exception:
        error = as_api_error(exception)
        if error is None:
            log.exception("Unexpected error in %s", path)
            error = our_fault()
        return error.status, error.body(request.request_id), error.headers  # type: ignore[attr-defined]


async def _wait(request: ASGIRequest, path: str) -> Any:
    if request.method != "GET":
        fix = "Use GET."
        raise ApiError(
            Code.INVALID_REQUEST,
            f"Method “{request.method}” not allowed.",
            fix=fix,
            status=405,
            headers={"Allow": "GET"},
        )
    match = PATH.fullmatch(path)
    inbox = await _in_pool(_admit, request.headers.get("Authorization", ""), match["inbox_id"] if match else "")
    query = read_query(request.GET.dict(), WaitQuery)
    position = Position(query.get("after"))

    async def look() -> Message | None:
        return await _in_pool(first_match, inbox, query, position)

    timeout = min(query["timeout_ms"], LONGEST_WAIT_MS) / 1000
    message = await waiting_room().wait(inbox.pk, look, timeout)
    if message is None:
        fix = "Call again with after set to meta.after: nothing in between is missed."
        raise ApiError(Code.WAIT_TIMEOUT, "No such message arrived in time.", fix=fix, meta={"after": position.text})
    return await _in_pool(represent_message, message)


def _admit(authorization: str, inbox_id: str) -> Inbox:
    key = authenticated(authorization)
    require(key, MESSAGES_READ)
    assert key is not None
    inbox = visible_inboxes(key).filter(pk=inbox_id).first() if is_plain_id(inbox_id) else None
    if inbox is None:
        raise not_found()
    return inbox


class Position:
    """How far a wait has looked: it begins at `after` and moves past each message that did not match, which is read once."""

    def __init__(self, after: str | None) -> None:
        try:
            self.start = read_moment(after, "msg") if after else timezone.now() - LOOKS_BACK
        except BadMoment as error:
            raise invalid("after", str(error)) from error
        self.last_seen: Message | None = None

    @property
    def text(self) -> str:
        """As `after` of the next call."""
        if self.last_seen is not None:
            return self.last_seen.pk
        return timestamp(self.start) if isinstance(self.start, datetime) else self.start

    def beyond(self, messages: QuerySet[Message]) -> QuerySet[Message]:
        if self.last_seen is not None:
            return messages.filter(sequence__gt=self.last_seen.sequence)
        return narrowed(messages, MESSAGE_FILTERS, {"after": self.text})


def first_match(inbox: Inbox, query: dict[str, Any], position: Position) -> Message | None:
    """The oldest matching message behind `position`. Bodies, which may be megabytes, are read of that one only."""
    messages = Message.objects.filter(inbox=inbox)
    while True:
        found = list(position.beyond(messages).order_by("sequence").only(*LOOKS_AT)[:LOOKS_AT_MOST])
        for message in found:
            if matches(message, query) and (
                whole := messages.prefetch_related("attachments").filter(pk=message.pk).first()
            ):
                return whole
            position.last_seen = message
        if len(found) < LOOKS_AT_MOST:
            return None


def matches(message: Message, query: dict[str, Any]) -> bool:
    sender = query.get("from_address", "").strip().lower()
    host = query.get("has_link_host", "").strip().lower()
    return (
        message.direction == query["direction"]
        and sender in message.from_address.lower()
        and query.get("subject_contains", "").lower() in message.subject.lower()
        and (query["has_code"] is None or bool(message.codes) == query["has_code"])
        and (not host or any(_host(link) == host or _host(link).endswith(f".{host}") for link in message.links))
    )


def _host(link: str) -> str:
    try:
        return urlsplit(link).hostname or ""
    except ValueError:
        return ""


async def _in_pool(call: Callable[..., Result], *args: Any) -> Result:
    def run() -> Result:
        close_old_connections()
        try:
            return call(*args)
        finally:
            close_old_connections()

    context = copy_context()
    return await asyncio.get_running_loop().run_in_executor(_pool, context.run, run)


async def _respond(
    request: ASGIRequest, send: Send, status: int, body: dict[str, Any], headers: dict[str, str]
) -> None:
    request_id = request.request_id  # type: ignore[attr-defined]
    named = {"Content-Type": "application/json", "X-Request-Id": request_id, "Cache-Control": "no-store", **headers}
    encoded = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": dumps(body)})
