"""How much of a request's body is read, before anybody looks at it.

Django writes a body to a file as it comes, however long it is and whoever sends it: its own limit is asked when the whole of it is on
the disk, and the key of an API call later still. So the server ends here what is too long, by its Content-Length or as it flows.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from audit.middleware import context_of, note_answer
from mailbot.api.errors import ApiError, Code
from mailbot.api.renderers import dumps
from mailbot.api.request_log import NO_ROUTE, Stopwatch

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

SMALL_BODY = 1024 * 1024  # octets: everything but a mail
# A client that is cut off in the middle of its body never reads the answer, and tries again: so a little more is read and thrown away.
MOST_DRAINED = 64 * 1024 * 1024
DRAINED_FOR = 10.0  # seconds
HOOK = re.compile(
    r"/hooks/provider_[0-9a-z]{26}/[\w-]{43}/(?:inbound|tracking)(?:/mime)?"
)  # an ESP's calls (delivery.hooks)
MAIL_PATHS = ("/messages", "/reply", "/forward")


def with_body_limit(behind: Application) -> Application:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        limit = limit_of(scope)
        length = _content_length(scope)
        if length > limit:
            await _refuse(scope, receive if length <= MOST_DRAINED else None, send)
        else:
            await behind(scope, *_limited(scope, receive, send, limit))

    return application


def limit_of(scope: Any) -> int:
    """Octets that the body of this request may have. Only who brings a key, or names a secret, may send a mail's worth of them."""
    path = scope["path"]
    if HOOK.fullmatch(path):
        return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    brings_key = any(name == b"authorization" for name, _ in scope["headers"])
    is_mail = path.startswith("/v1/") and path.endswith(MAIL_PATHS)
    return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE) if brings_key and is_mail else SMALL_BODY


def _content_length(scope: Any) -> int:
    given = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(given) if given.isdigit() else 0


def _limited(scope: Any, receive: Receive, send: Send, limit: int) -> tuple[Receive, Send]:
    """`receive` counts; past the limit the caller is answered here, and who listened behind hears that he is gone."""
    read, refused = 0, False

    async def counting() -> Message:
        nonlocal read, refused
        message = await receive()
        read += len(message.get("body", b""))
        if read <= limit:
            return message
        if not refused:
            refused = True
            await _refuse(scope, receive if message.get("more_body") else None, send)
        return {"type": "http.disconnect"}

    async def sending(message: Message) -> None:
        if not refused:
            await send(message)

    return counting, sending


async def _drain(receive: Receive) -> None:
    octets = 0
    try:
        async with asyncio.timeout(DRAINED_FOR):
            while octets <= MOST_DRAINED and (message := await receive()).get("more_body"):
                octets += len(message.get("body", b""))
    except TimeoutError:
        return


async def _refuse(scope: Any, receive: Receive | None, send: Send) -> None:
    """Answer 413 and hang up; first read the rest of the body if there is a `receive`."""
    watch = Stopwatch()
    if receive:
        await _drain(receive)
    request = ASGIRequest(scope, BytesIO())
    context = context_of(request)
    request_id = context.request_id
    error = ApiError(Code.PAYLOAD_TOO_LARGE, "The body is too large.", fix="Send less, or smaller attachments.")
    named = {"content-type": "application/json", "x-request-id": request_id, "connection": "close"}
    headers = [(name.encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": dumps(error.body(request_id))})
    note_answer(context, scope["method"], NO_ROUTE, error.status, watch)
