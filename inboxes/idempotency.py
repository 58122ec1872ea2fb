"""The memory of mailbot.api.idempotency: answers to POSTs with an Idempotency-Key, kept for a day in the transaction of what was done."""

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import orjson
from django.db import IntegrityError
from django.utils import timezone

from inboxes.models import KeptAnswer
from mailbot.api.idempotency import Answer, AskedBefore, Call, InFlight, used_otherwise
from mailbot.api.renderers import dumps
from mailbot.lib.transactions import is_alone_with

KEPT_FOR = timedelta(hours=24)
BATCH = 500
BATCHES = 100  # a minute

_under_way: set[UUID] = set()
_lock = threading.Lock()


@contextmanager
def under_way(call: Call) -> Iterator[None]:
    """Also where work takes long before its transaction begins, and where SQLite would make the second request wait for the first."""
    with _lock:
        if call.slot in _under_way:
            raise InFlight
        _under_way.add(call.slot)
    try:
        yield
    finally:
        with _lock:
            _under_way.remove(call.slot)


def recall(call: Call) -> Answer | None:
    kept = KeptAnswer.objects.filter(slot=call.slot).first()
    if kept is None:
        return None
    if kept.expires_at <= timezone.now():
        kept.delete()  # the sweep has not come by; its place is needed
        return None
    if kept.asked != call.asked:
        raise used_otherwise()
    return Answer(kept.status, orjson.loads(zlib.decompress(kept.body)))


def hold(call: Call) -> None:
    """Otherwise PostgreSQL would let the second of two that insert the same slot wait for the end of the first."""
    if not is_alone_with(int.from_bytes(call.slot.bytes[:8], "big", signed=True)):
        raise InFlight


def keep(call: Call, answer: Answer) -> None:
    try:
        KeptAnswer.objects.create(
            account_id=call.account_id,
            inbox_id=call.inbox_id,
            slot=call.slot,
            asked=call.asked,
            status=answer.status,
            body=zlib.compress(dumps(answer.body), level=1),
            expires_at=timezone.now() + KEPT_FOR,
        )
    except IntegrityError:
        raise AskedBefore from None


def forget_inbox(inbox_id: str) -> None:
    """An answer holds what was sent: of an inbox that is purged nothing is left."""
    KeptAnswer.objects.filter(inbox_id=inbox_id).delete()


def forget_expired() -> int:
    """Remove answers whose day is over, in small transactions; how many."""
    forgotten = 0
    for _ in range(BATCHES):
        expired = KeptAnswer.objects.filter(expires_at__lte=timezone.now()).order_by("expires_at")
        found = list(expired.values_list("pk", flat=True)[:BATCH])
        KeptAnswer.objects.filter(pk__in=found).delete()
        forgotten += len(found)
        if len(found) < BATCH:
            break
    return forgotten
