"""Deleting raw mail from the object store.

The card says `leaving` in the transaction that decides it, the object goes after the commit, and then the card. Whoever is killed
in between leaves the card, and the sweep goes on from there.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import reduce
from operator import or_

from django.db.models import Exists, OuterRef, Q

from delivery.models import InboundMail, OutboundMail, RawObject
from mailbot.lib import object_store
from mailbot.lib.bulk import batches
from mailbot.lib.clock import database_now
from mailbot.lib.hints import ring_on_commit
from mailbot.lib.object_store import StoreUnavailable
from threads.models import Message

REMOVE_TASK = "delivery.tasks.remove_raw"
AT_ONCE = 500
PAIRS_AT_ONCE = 100
PAUSE = timedelta(minutes=1)
THREADS = 8


def in_pieces(values: Iterable[str], size: int = AT_ONCE) -> Iterator[list[str]]:
    return batches(sorted(values), size)


def let_go(mail_ids: Iterable[str]) -> None:
    """Nobody may read the raw mail of these any more. Call it in the transaction that decides so, after it locked the rows.

    The lease of a mover that is at work on one stays: the object is deleted once the mover must be done.
    """
    for piece in in_pieces(mail_ids):
        RawObject.objects.filter(pk__in=piece).update(state=RawObject.State.LEAVING)
    ring_on_commit(REMOVE_TASK)


def let_go_outbound(inbox_id: str) -> None:
    """The same for all that the inbox has sent."""
    RawObject.objects.filter(inbox_id=inbox_id, mail_id__startswith="outmail_").update(state=RawObject.State.LEAVING)
    ring_on_commit(REMOVE_TASK)


def sources_in_use(mails: Iterable[tuple[str, str, Sequence[str]]]) -> set[str]:
    """Of mails (id, SHA-256, inboxes that it was for) those of which an inbox still has a message."""
    wanted = ((mail_id, inbox_id, sha256) for mail_id, sha256, inboxes in mails for inbox_id in inboxes)
    found: set[str] = set()
    for piece in batches(wanted, PAIRS_AT_ONCE):
        pairs = reduce(or_, (Q(inbox_id=inbox_id, raw_sha256=sha256) for _, inbox_id, sha256 in piece))
        found |= set(Message.objects.filter(pairs).order_by().values_list("source_id", flat=True))
    return found


def remove_leaving(limit: int = AT_ONCE) -> int:
    """Delete objects that are to go, and their cards; how many. What the store does not delete now is tried again in a minute."""
    _let_go_lost()
    leaving = RawObject.objects.filter(state=RawObject.State.LEAVING)
    due = list(leaving.filter(RawObject.is_free(RawObject.State.LEAVING)).order_by("pk")[:limit])
    if not due:
        return 0
    with ThreadPoolExecutor(THREADS, "raw erasure") as pool:
        errors = dict(zip([card.pk for card in due], pool.map(_why_not_deleted, due), strict=True))
    gone = [pk for pk, error in errors.items() if not error]
    leaving.filter(pk__in=gone).delete()
    failed = {"error": next(filter(None, errors.values()), "")[:2000], "lease_until": database_now() + PAUSE}
    leaving.filter(pk__in=errors.keys() - set(gone)).update(**failed)
    return len(gone)


def _why_not_deleted(card: RawObject) -> str:
    try:
        object_store.delete(card.name)
    except StoreUnavailable as error:
        return str(error)
    return ""


def _let_go_lost() -> None:
    """Cards of movers that did not come back, and whose mail was erased meanwhile: perhaps there is an object."""
    lost = RawObject.objects.filter(RawObject.is_free(RawObject.State.MOVING))
    for queue in (InboundMail, OutboundMail):
        lost = lost.exclude(Exists(queue._default_manager.filter(pk=OuterRef("pk"))))
    lost.update(state=RawObject.State.LEAVING, lease_until=None)
