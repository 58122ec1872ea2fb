"""`Idempotency-Key`: one POST is carried out once, however often it is sent. docs/api/idempotency.md is the promise.

What was answered is kept by `settings.IDEMPOTENCY_MEMORY`, a module that is a Memory (inboxes.idempotency): nothing here has tables.
"""

import hashlib
import re
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast
from uuid import UUID

import orjson
from django.conf import settings
from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response

from mailbot.api.errors import ApiError, Code, invalid
from mailbot.api.permissions import Principal

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Call:
    """A POST with a key. `slot` is the place of the key among those of all callers, `asked` what was asked for."""

    account_id: str
    inbox_id: str | None
    slot: UUID
    asked: UUID


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is what was in the envelope and around it, as JSON reads."""

    status: int
    body: Any


class InFlight(Exception):
    """The same key is at work elsewhere."""


class AskedBefore(Exception):
    """The key has an answer by now: another request with it was quicker. Nothing of this one may be committed."""


class Memory(Protocol):
    """Where answers are kept for a day."""

    def under_way(self, call: Call) -> AbstractContextManager[None]:
        """Inside, no other request of this process has the key. Raises InFlight."""

    def recall(self, call: Call) -> Answer | None:
        """The first answer; None: it is the first request. Raises ApiError when the key was used for something else."""

    def hold(self, call: Call) -> None:
        """No request of another process has the key until the end of the open transaction. Raises InFlight, and does not wait."""

    def keep(self, call: Call, answer: Answer) -> None:
        """Keep it, in the open transaction. Raises AskedBefore."""


def memory() -> Memory:
    return cast(Memory, _module(settings.IDEMPOTENCY_MEMORY))


@cache
def _module(name: str) -> Any:
    return import_module(name)


def carry_out(call: Call, work: Callable[[], Response]) -> Response:
    """The response of `work`, or the one that the same call had before.

    An answer is kept in the transaction of what was done: `work` has to `hold` and `keep` where it commits. What raises (every error does)
    leaves nothing behind, and the key is free.
    """
    try:
        with memory().under_way(call):
            answer = memory().recall(call)
            return replayed(answer) if answer else work()
    except InFlight:
        raise _in_flight() from None
    except (AskedBefore, ApiError) as error:
        # Another request with the key may have been quicker, and be what this one ran into: its inbox has the address by now.
        if answer := memory().recall(call):
            return replayed(answer)
        raise _in_flight() if isinstance(error, AskedBefore) else error from None


def in_one_transaction(call: Call, work: Callable[[], Response], shown_once: Collection[str]) -> Response:
    """`work` in a transaction of its own, with the answer; in place of what is `shown_once` the answer is kept with null."""
    with transaction.atomic():
        memory().hold(call)
        response = work()
        memory().keep(call, Answer(response.status_code, _without(response.data, shown_once)))
    return response


def _without(body: Any, names: Collection[str]) -> Any:
    if not names:
        return body
    return {**body, "data": {name: None if name in names else value for name, value in body["data"].items()}}


def replayed(answer: Answer) -> Response:
    return Response(answer.body, status=answer.status, headers={REPLAYED: "true"})


def call_of(request: Request, principal: Principal, inbox_id: str | None) -> Call | None:
    """The call that `request` is; None without the header. Raises ApiError for a key that is none, or a body that cannot be read."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise invalid(
            HEADER, "This is not 1 to 255 printable ASCII characters.", "Use a new UUID for each thing you do."
        )
    slot = digest(principal.account_id, principal.mode, _visible_to(principal), key)
    return Call(principal.account_id, inbox_id, slot, asked(request))


def _visible_to(principal: Principal) -> str:
    """Keys that see the same share their Idempotency-Keys: one takes over where another was revoked. Others learn nothing by trying."""
    return "all" if principal.inbox_ids is None else ",".join(sorted(principal.inbox_ids))


def asked(request: Request) -> UUID:
    """What a request asks for: its path, query and body. The order of names and the spacing of JSON make no difference."""
    body = orjson.dumps(request.data, option=orjson.OPT_SORT_KEYS)
    return digest(request.method or "", request.get_full_path(), body)


def digest(*parts: str | bytes) -> UUID:
    """128 bits of SHA-256 over `parts`, of which each is told from the next."""
    sha256 = hashlib.sha256()
    for part in parts:
        octets = part.encode() if isinstance(part, str) else part
        sha256.update(len(octets).to_bytes(8, "big") + octets)
    return UUID(bytes=sha256.digest()[:16])


def _in_flight() -> ApiError:
    message = f"A request with this {HEADER} is still being carried out."
    return ApiError(Code.CONFLICT, message, fix="Send it again in a second.", headers={"Retry-After": "1"})


def used_otherwise() -> ApiError:
    message = f"This {HEADER} was used for another request: another path or another body."
    fix = "Send exactly what was sent with it before, or use a new key for something new."
    return ApiError(Code.CONFLICT, message, fix=fix)
