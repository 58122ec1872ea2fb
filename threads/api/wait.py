"""GET /v1/inboxes/{inbox_id}/messages/wait: answered when a mail is there.

It is an ASGI application of its own and no Django view, because Django keeps a thread for each request under ASGI, and a wait
should cost none: 2,000 open waits are 2,000 coroutines, each of which holds what it wants and the way to its client.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import QueryDict
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.actors import ActContext, acting_in
from audit.middleware import context_of, note_answer
from audit.reads import Read, write_reads
from audit.record import Act
from inboxes.api.authentication import authenticated
from inboxes.api.views import visible_inboxes
from inboxes.models import Inbox
from inboxes.permissions import MESSAGES_READ
from mailbot.api.errors import ApiError, Code, as_api_error, invalid, log, not_found, our_fault
from mailbot.api.exposed_keys import refuse_exposed_key
from mailbot.api.fields import OneOf
from mailbot.api.permissions import require
from mailbot.api.rate_limits import count_call
from mailbot.api.renderers import dumps
from mailbot.api.request_log import Stopwatch
from mailbot.api.schema import described
from mailbot.api.views import TenantView, is_plain_id, once, read_query
from mailbot.lib.scope import NOBODY, acting_for_everybody, acting_within
from threads.api.serializers import MessageSerializer
from threads.filters import BadMoment
from threads.lookers import Lookers
from threads.models import Message
from threads.waiting import WaitingRoom, waiting_room
from threads.wanted import Wanted, first_match, new_matches, wanted

PATH = re.compile(r"/v1/inboxes/(?P<inbox_id>[^/]+)/messages/wait")
ROUTE = "/v1/inboxes/{inbox_id}/messages/wait"
LONGEST_WAIT_MS = 25_000  # clients give up at 30 s
ADMITTERS = 4

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Room = WaitingRoom[Wanted, bytes]

# News is looked at by a thread of its own, so that it does not stand in line behind calls that are only beginning.
_admitters = Lookers(ADMITTERS, "wait-admit")
_looker = Lookers(1, "wait-look")
_shape = MessageSerializer()  # making one takes twenty times as long as what it then does


def close_lookers() -> None:
    """Give the connections to the database back. The next wait opens new ones."""
    _admitters.close()
    _looker.close()


class WaitQuery(serializers.Serializer[Any]):
    direction = OneOf(choices=Message.Direction.choices, default=Message.Direction.INBOUND)
    from_address = serializers.CharField(max_length=320, required=False)
    subject_contains = serializers.CharField(max_length=500, required=False)
    has_code = serializers.BooleanField(required=False, default=None)
    has_link_host = serializers.CharField(max_length=253, required=False)
    after = serializers.CharField(max_length=40, required=False)
    timeout_ms = serializers.IntegerField(min_value=0, max_value=3_600_000, default=20_000)
    # Clients of servers that poll send it; here a wait is answered by the arrival itself.
    poll_interval_ms = serializers.IntegerField(min_value=0, required=False)


class WaitOperation(TenantView):
    """What the schema says of a wait (mailbot.documentation). It is never routed: `wait_application` answers."""

    needs = MESSAGES_READ

    @described(
        "Wait for a message",
        query=WaitQuery,
        answer=MessageSerializer,
        errors=(Code.WAIT_TIMEOUT,),
        name="wait_for_message",
    )
    def get(self, request: Request, inbox_id: str) -> Response:
        """Answers the first message that fits, oldest first: at once if it is there, otherwise as soon as it arrives. None in time is a 408
        with `meta.after`; a call with that `after` goes on without a gap."""
        raise NotImplementedError


Answer = tuple[int, bytes, dict[str, str]]
"""Status, body and headers."""


@dataclass(slots=True)
class Call:
    """What is needed of a request. The request itself, with all its headers, is not kept while the wait is open."""

    method: str
    inbox_id: str
    authorization: str
    query_string: bytes
    context: ActContext
    rate_headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, scope: Scope) -> "Call":
        request = ASGIRequest(scope, BytesIO())
        match = PATH.fullmatch(scope["path"])
        inbox_id = match["inbox_id"] if match else ""
        authorization = request.headers.get("Authorization", "")
        return cls(scope["method"], inbox_id, authorization, scope["query_string"], context_of(request))

    def parameters(self) -> dict[str, str]:
        return once(QueryDict(self.query_string))


async def wait_application(scope: Scope, receive: Receive, send: Send) -> None:
    call = Call.of(scope)
    request_id, watch = call.context.request_id, Stopwatch()
    try:
        status, body, headers = await _answer(call, receive)
    except asyncio.CancelledError:  # the server is stopping and will wait no longer
        fix = "Call again with the same parameters: nothing is missed."
        stopping = ApiError(Code.UNAVAILABLE, "This server is stopping.", fix=fix, headers={"Retry-After": "1"})
        await _respond(send, request_id, *_told(stopping, request_id))
        raise
    await _respond(send, request_id, status, body, headers)
    note_answer(call.context, call.method, ROUTE, status, watch, call.inbox_id)


async def _answer(call: Call, receive: Receive) -> Answer:
    try:
        return 200, await _wait(call, receive), call.rate_headers
    except Exception as exception:
        error = as_api_error(exception)
        if error is None:
            log.exception("Unexpected error in a wait for %s", call.inbox_id)
            error = our_fault()
        status, body, headers = _told(error, call.context.request_id)
        return status, body, {**call.rate_headers, **headers}


async def _wait(call: Call, receive: Receive) -> bytes:
    if call.method != "GET":
        message = f"Method “{call.method}” not allowed."
        raise ApiError(Code.INVALID_REQUEST, message, fix="Use GET.", status=405, headers={"Allow": "GET"})
    refuse_exposed_key(f"/v1/inboxes/{call.inbox_id}", call.query_string.decode("latin-1"))
    room = _room()
    with room.place(call.inbox_id) as waiter:
        wish, timeout, found = await _admitters.run(partial(_admit, call))
        found = found or await room.sleep(waiter, wish, partial(_left, receive), timeout)
    if found is None:
        fix = "Call again with after set to meta.after: nothing in between is missed."
        raise ApiError(Code.WAIT_TIMEOUT, "No such message arrived in time.", fix=fix, meta={"after": wish.after})
    return found


def _admit(call: Call) -> tuple[Wanted, float, bytes | None]:
    """What is wanted, for how many seconds at most, and the answer when it is there already."""
    with acting_within(NOBODY), acting_in(call.context):
        return _admitted(_inbox(call), call)


def _admitted(inbox: Inbox, call: Call) -> tuple[Wanted, float, bytes | None]:
    query = read_query(call.parameters(), WaitQuery)
    try:
        wish = wanted(inbox, query)
    except BadMoment as error:
        raise invalid("after", str(error)) from error
    wish.reader = call.context
    found = first_match(wish, inbox)
    if found is not None:
        write_reads([_answered(wish, found)])
    timeout = min(query["timeout_ms"], LONGEST_WAIT_MS) / 1000
    return wish, timeout, None if found is None else _rendered(found)


def _inbox(call: Call) -> Inbox:
    key = authenticated(call.authorization)
    if key is not None:
        call.rate_headers = count_call(key).headers
    require(key, MESSAGES_READ)
    assert key is not None
    inbox = visible_inboxes(key).filter(pk=call.inbox_id).first() if is_plain_id(call.inbox_id) else None
    if inbox is None:
        raise not_found()
    return inbox


def _room() -> Room:
    return waiting_room(_news)


async def _news(wishes: Sequence[Wanted]) -> dict[Wanted, bytes]:
    return await _looker.run(partial(_rendered_matches, wishes))


def _rendered_matches(wishes: Sequence[Wanted]) -> dict[Wanted, bytes]:
    """A message is written out once, whoever waits for it: a wish names the inbox that its key was let into.

    That they are answered is committed for all of them at once, before the first hears of it."""
    with acting_for_everybody("one look for all who wait"):
        found = new_matches(wishes)
        write_reads([_answered(wish, message) for wish, message in found.items()])
        bodies = {message.pk: _rendered(message) for message in set(found.values())}
    return {wish: bodies[message.pk] for wish, message in found.items()}


def _answered(wish: Wanted, message: Message) -> Read:
    return Read(
        *(Act.WAIT_ANSWERED, "message", message.pk, message.account_id, message.inbox_id),
        told={},
        reader=wish.reader,
    )


def _rendered(message: Message) -> bytes:
    return dumps({"data": _shape.to_representation(message)})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _told(error: ApiError, request_id: str) -> Answer:
    return error.status, dumps(error.body(request_id)), error.headers


async def _respond(send: Send, request_id: str, status: int, body: bytes, headers: dict[str, str]) -> None:
    named = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "X-Request-Id": request_id,
        "Cache-Control": "no-store",
        **headers,
    }
    encoded = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
