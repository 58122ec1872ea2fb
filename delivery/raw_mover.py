"""Moving raw mail out of the rows of the queues into the object store, so that the database stays small.

    a card (RawObject) is committed → the object is written and read back → in one transaction the row is emptied and the card is `kept`

At every moment the row or a verified object has the bytes. Who is killed before the last step leaves the bytes in the row and a card
whose lease runs out; the next one writes the same bytes under the same name again. Docs: docs/decisions/0007.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, islice
from threading import Lock
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Length
from django.utils import timezone

from delivery.claims import new_token
from delivery.models import RAW_LEASE, InboundMail, OutboundMail, RawObject
from delivery.outbound.states import FINAL
from inboxes.models import Inbox
from mailbot.lib import object_store
from mailbot.lib.clock import database_now
from mailbot.lib.object_store import StoreUnavailable

log = logging.getLogger(__name__)

MOVE_TASK = "delivery.tasks.move_raw"
BATCH = 100
BATCH_OCTETS = 32 * 1024 * 1024
WRITES_FOR = RAW_LEASE.total_seconds() / 2  # what a batch has left by then is for the next one
PAUSE = timedelta(minutes=1)  # until a mail that the store did not take is tried again
THREADS = 8  # an S3 store answers in tens of milliseconds, and a disk flushes several files at once
GIVES_UP_AFTER = 8  # failures without a single success: the store is down
QUEUES: tuple[type[InboundMail] | type[OutboundMail], ...] = (InboundMail, OutboundMail)


@dataclass(frozen=True, slots=True)
class Moved:
    """What one batch came to. `left` were chosen and not tried, or are another mover's."""

    moved: int = 0
    octets: int = 0
    failed: int = 0
    left: int = 0
    error: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether another batch is worth a try."""
        return self.moved > 0 or (self.left > 0 and not self.failed)


@dataclass(slots=True)
class _Mail:
    """A mail that is due, and its bytes."""

    mail_id: str
    mail_at: datetime
    size: int
    inboxes: list[str]
    expected: str = ""  # SHA-256 by the row; outbound rows have none
    raw: bytes = b""
    sha256: str = ""
    error: str = ""
    is_written: bool = False

    @property
    def card(self) -> RawObject:
        return RawObject(
            mail_id=self.mail_id,
            inbox_id=self.inboxes[0],
            other_inboxes=self.inboxes[1:],
            name=RawObject.name_of(self.mail_id, self.mail_at, self.sha256),
            size=len(self.raw),
            sha256=self.sha256,
            mail_at=self.mail_at,
        )


def move_batch(limit: int = BATCH, *, older_than: timedelta | None = None) -> Moved:
    """Move up to `limit` mails (32 MiB) that were finished `older_than` ago (default: RAW_MOVE_AFTER), the oldest first.

    Safe to call at any time and from any number of processes. Raises nothing of the store's: what it did not take stays in its row,
    with the reason on its card.
    """
    before = timezone.now() - (timedelta(seconds=settings.RAW_MOVE_AFTER) if older_than is None else older_than)
    chosen = _read(list(_batch(_due(before), limit)))
    token = new_token()
    names = _claim(chosen, token)
    ours = [mail for mail in chosen if mail.mail_id in names]
    _write(ours, names)
    kept = _keep([mail.mail_id for mail in ours if mail.is_written], token)
    _note_failures(ours, token)
    _release([mail for mail in ours if mail.mail_id not in kept and not mail.error], token)
    return _outcome(ours, kept, left=len(chosen) - len(ours))


# --- What is due --------------------------------------------------------------------------------------------------------


def _due(before: datetime) -> Iterator[_Mail]:
    return chain(_due_inbound(before), _due_outbound(before))


def _due_inbound(before: datetime) -> Iterator[_Mail]:
    rows = InboundMail.objects.filter(raw_in_row=True, processed_at__lt=before, state=InboundMail.State.PROCESSED)
    columns = ("pk", "received_at", "size", "recipients", "sha256")
    for pk, at, size, recipients, sha256 in _free(rows).order_by("processed_at").values_list(*columns)[:BATCH]:
        yield _Mail(pk, at, size, list(dict.fromkeys(item["inbox_id"] for item in recipients)), sha256)


def _due_outbound(before: datetime) -> Iterator[_Mail]:
    rows = OutboundMail.objects.filter(raw_in_row=True, finished_at__lt=before, state__in=FINAL)
    columns = ("pk", "created_at", Length("raw"), "inbox_id")
    for pk, at, size, inbox_id in _free(rows).order_by("finished_at").values_list(*columns)[:BATCH]:
        yield _Mail(pk, at, size, [inbox_id])


def _free(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Those that no mover holds, and that did not fail a moment ago."""
    card = RawObject.objects.filter(pk=OuterRef("pk"))
    return rows.exclude(Exists(card.exclude(RawObject.is_free(RawObject.State.MOVING))))


def _batch(mails: Iterable[_Mail], limit: int) -> Iterator[_Mail]:
    """Up to `limit` and up to BATCH_OCTETS together, but at least one."""
    octets = 0
    for mail in islice(mails, limit):
        octets += mail.size
        if octets > BATCH_OCTETS and octets > mail.size:
            return
        yield mail


def _read(mails: list[_Mail]) -> list[_Mail]:
    raws: dict[str, bytes] = {}
    for queue in QUEUES:
        rows = queue._default_manager.filter(pk__in=[mail.mail_id for mail in mails], raw_in_row=True)
        raws |= {pk: bytes(raw) for pk, raw in rows.values_list("pk", "raw")}
    found = [mail for mail in mails if mail.mail_id in raws]
    for mail in found:
        mail.raw = raws[mail.mail_id]
        mail.sha256 = hashlib.sha256(mail.raw).hexdigest()
    return found


# --- Claim, write, keep -------------------------------------------------------------------------------------------------


def _claim(mails: Sequence[_Mail], token: str) -> dict[str, str]:
    """Write the cards, or take over those whose mover did not come back; names in the store of the mails that are ours now."""
    if not mails:
        return {}
    until = database_now() + RAW_LEASE
    cards = [mail.card for mail in mails]
    inboxes = {inbox_id for mail in mails for inbox_id in mail.inboxes}
    accounts = dict(Inbox.objects.filter(pk__in=inboxes).values_list("pk", "account_id"))
    for card in cards:
        card.account_id = accounts.get(card.inbox_id, "")
        card.lease_token, card.lease_until = token, until
    with transaction.atomic():
        over = RawObject.objects.filter(RawObject.is_free(RawObject.State.MOVING))
        over.filter(pk__in=[card.pk for card in cards]).update(lease_token=token, lease_until=until)
        RawObject.objects.bulk_create(cards, ignore_conflicts=True)
    ours = RawObject.objects.filter(pk__in=[card.pk for card in cards], lease_token=token)
    return dict(ours.values_list("pk", "name"))


@dataclass
class _Breaker:
    """Opens when the store does nothing but fail, so that a batch does not wait for each of its mails."""

    ends: float
    successes: int = 0
    failures: int = 0
    lock: Lock = field(default_factory=Lock)

    def is_open(self) -> bool:
        return monotonic() > self.ends or (not self.successes and self.failures >= GIVES_UP_AFTER)

    def count(self, succeeded: bool) -> None:
        with self.lock:
            self.successes += succeeded
            self.failures += not succeeded


def _write(mails: Sequence[_Mail], names: dict[str, str]) -> None:
    """Put each into the store and read it back. No transaction is open, and the threads use no database."""
    breaker = _Breaker(monotonic() + WRITES_FOR)

    def write(mail: _Mail) -> None:
        if not breaker.is_open():
            mail.error = _write_one(mail, names[mail.mail_id])
            mail.is_written = not mail.error
            breaker.count(mail.is_written)

    if len(mails) == 1:
        return write(mails[0])
    with ThreadPoolExecutor(THREADS, "raw mover") as pool:
        list(pool.map(write, mails))
    return None


def _write_one(mail: _Mail, name: str) -> str:
    """Why it failed, or nothing."""
    if mail.expected not in ("", mail.sha256):
        return "The bytes in the row are not those that came in: their SHA-256 differs. They stay where they are."
    try:
        object_store.write_and_verify(name, mail.raw, mail.sha256)
    except StoreUnavailable as error:
        return str(error)
    return ""


@transaction.atomic
def _keep(mail_ids: Sequence[str], token: str) -> set[str]:
    """Empty the rows of what the store has, while the cards are ours; which ones.

    Rows first, then cards, as an erasure does; and what an erasure holds is left to it.
    """
    cards = RawObject.objects.filter(state=RawObject.State.MOVING, lease_token=token)
    held: set[str] = set()
    for queue in QUEUES:
        rows = queue._default_manager.select_for_update(skip_locked=True).filter(pk__in=mail_ids, raw_in_row=True)
        held |= set(rows.order_by("pk").values_list("pk", flat=True))
    ours = cards.select_for_update(skip_locked=True).filter(pk__in=held).order_by("pk")
    kept = set(ours.values_list("pk", flat=True))
    for queue in QUEUES:
        queue._default_manager.filter(pk__in=kept, raw_in_row=True).update(raw=b"", raw_in_row=False)
    done = {"state": RawObject.State.KEPT, "moved_at": timezone.now(), "error": ""}
    cards.filter(pk__in=kept).update(lease_token="", lease_until=None, **done)
    return kept


def _note_failures(mails: Sequence[_Mail], token: str) -> None:
    for mail in mails:
        if mail.error:
            ours = RawObject.objects.filter(pk=mail.mail_id, lease_token=token)
            ours.update(error=mail.error[:2000], lease_token="", lease_until=database_now() + PAUSE)
    if errors := [mail.error for mail in mails if mail.error]:
        log.warning("%d raw mails were not moved to the object store: %s", len(errors), errors[0])


def _release(mails: Sequence[_Mail], token: str) -> None:
    """What we did not get to is free again. What was erased under our hands goes from the store too."""
    cards = RawObject.objects.filter(pk__in=[mail.mail_id for mail in mails])
    cards.filter(lease_token=token).update(lease_token="", lease_until=database_now())
    there = set(cards.values_list("pk", flat=True))
    # Erased, and its card already done with, before our object was written: it needs a card to be found by.
    lost = [mail.card for mail in mails if mail.mail_id not in there]
    for card in lost:
        card.state = RawObject.State.LEAVING
    RawObject.objects.bulk_create(lost, ignore_conflicts=True)


def _outcome(mails: Sequence[_Mail], kept: set[str], left: int) -> Moved:
    failed = [mail for mail in mails if mail.error]
    return Moved(
        moved=len(kept),
        octets=sum(len(mail.raw) for mail in mails if mail.mail_id in kept),
        failed=len(failed),
        left=left + len(mails) - len(kept) - len(failed),
        error=failed[0].error if failed else "",
    )


# --- For operators ------------------------------------------------------------------------------------------------------


def refused() -> QuerySet[RawObject]:
    """Cards of mail that the store did not take so far."""
    return RawObject.objects.filter(state=RawObject.State.MOVING).exclude(error="")


def try_again_now() -> int:
    """Forget the pause after failures; how many there were. A mover that is at work keeps what it holds."""
    return refused().filter(lease_token="").update(lease_until=database_now())
