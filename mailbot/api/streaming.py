"""Answers that are longer than what should be held in memory."""

from collections.abc import AsyncIterator, Iterable, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from mailbot.lib import scope


def streamed(request: HttpRequest, pieces: Iterable[bytes], content_type: str, filename: str) -> StreamingHttpResponse:
    """`pieces` as a file, each made when it is asked for, and for whom the request acts.

    By then the request is answered and nobody acts any more (mailbot.lib.scope), so its scope is entered for each. A piece may ask the
    database but must leave neither a cursor nor a transaction open. Under ASGI Django would collect all that a plain iterator gives
    before it sends the first of it.
    """
    made = _within(scope.current(), pieces)
    content = _without_blocking(made) if isinstance(request, ASGIRequest) else made
    answer = StreamingHttpResponse(content, content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Cache-Control"] = "no-store"
    return answer


def _within(whom: scope.Scope, pieces: Iterable[bytes]) -> Iterator[bytes]:
    iterator = iter(pieces)
    while True:
        with scope.acting_within(whom):
            piece = next(iterator, None)
        if piece is None:
            return
        yield piece


async def _without_blocking(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    take = sync_to_async(lambda: next(pieces, None))
    while (piece := await take()) is not None:
        yield piece
