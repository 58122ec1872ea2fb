"""Large mail on its way in: its bytes go into the object store before its row is written, which then only names them.

    a card (RawObject) is committed → the object is written and read back → the row is committed, and with it the card as `kept`

A row of 30 MiB keeps whoever else writes waiting, on SQLite everybody; a file or a PUT keeps nobody. The row is that of a mail that was
moved (delivery.raw_mover), so whatever reads raw mail finds it. Who is killed in between leaves a card without a row, and
delivery.raw_erasure removes it with its object once the lease is over. Docs: docs/decisions/0013.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from time import monotonic
from typing import Protocol

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from delivery.claims import new_token
from delivery.models import RAW_LEASE, InboundMail, RawObject
from delivery.raw_erasure import REMOVE_TASK
from inboxes.models import Inbox
from mailbot.lib import object_store
from mailbot.lib.clock import database_now
from mailbot.lib.failpoints import failpoint
from mailbot.lib.hints import ring_on_commit
from mailbot.lib.ids import new_id
from mailbot.lib.object_store import StoreUnavailable

log = logging.getLogger(__name__)

THREADS = 4  # mails of one batch that are written at once
PAUSE = 60.0  # seconds for which a store that failed is not asked again


class CardLost(OperationalError):
    """Writing took longer than the lease, and somebody has given the object up: it may be gone. Nothing is promised."""


class Content(Protocol):
    """What is known of a mail that has no row yet."""

    @property
    def raw(self) -> bytes: ...

    @property
    def received_at(self) -> datetime: ...


_left_alone = {"until": 0.0}  # time.monotonic, of this process


def goes_ahead(size: int) -> bool:
    """Whether a mail of so many octets is for the store at once."""
    return 0 < settings.RAW_TO_STORE_ABOVE < size


@contextmanager
def brought_ahead(mails: Sequence[Content]) -> Iterator[dict[int, RawObject]]:
    """Put those of them that go ahead into the store; the cards of those that it has, by their place in `mails`.

    The others belong into their rows: a store that is away or full keeps no mail from coming in, and is not asked again for PAUSE
    seconds; and no transaction of the caller's waits for a store. Inside, `keep` is told of the rows; what it was not told of leaves the
    store again. Raises what the database raises.
    """
    large = {number: mail for number, mail in enumerate(mails) if goes_ahead(len(mail.raw))}
    if not large or connection.in_atomic_block or monotonic() < _left_alone["until"]:
        yield {}
        return
    cards = {number: _new_card(mail) for number, mail in large.items()}
    _claim(list(cards.values()))
    try:
        written = _write([(cards[number], mail.raw) for number, mail in large.items()])
        failpoint("intake.in-store")
        yield {number: card for number, card in cards.items() if card.pk in written}
    finally:
        with suppress(OperationalError, InterfaceError):  # then their leases run out
            _let_go(list(cards.values()))


def keep(rows: Sequence[InboundMail], cards: Mapping[str, RawObject]) -> None:
    """From now on the store has what these rows name. Call it in the transaction that wrote them: a row that was there before, of
    the same delivery, has other bytes, and ours are let go. Raises CardLost."""
    written = InboundMail.objects.filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True)
    there = set(written)
    inboxes = {row.pk: list(dict.fromkeys(item["inbox_id"] for item in row.recipients)) for row in rows}
    named = {inbox_id for found in inboxes.values() for inbox_id in found}
    accounts = dict(Inbox.objects.filter(pk__in=named).values_list("pk", "account_id"))
    for pk in sorted(there):
        first, *others = inboxes[pk]
        ours = RawObject.objects.filter(pk=pk, state=RawObject.State.MOVING, lease_token=cards[pk].lease_token)
        whose = {"account_id": accounts.get(first, ""), "inbox_id": first, "other_inboxes": others}
        state = {"state": RawObject.State.KEPT, "moved_at": timezone.now(), "lease_token": "", "lease_until": None}
        if not ours.update(**whose, **state):
            raise CardLost(f"{cards[pk].name} was given up before its row was written.")


def _new_card(mail: Content) -> RawObject:
    mail_id, sha256 = new_id("inmail"), hashlib.sha256(mail.raw).hexdigest()
    name = RawObject.name_of(mail_id, mail.received_at, sha256)
    return RawObject(mail_id=mail_id, name=name, size=len(mail.raw), sha256=sha256, mail_at=mail.received_at)


def _claim(cards: Sequence[RawObject]) -> None:
    token, until = new_token(), database_now() + RAW_LEASE
    for card in cards:
        card.lease_token, card.lease_until = token, until
    with transaction.atomic():
        RawObject.objects.bulk_create(cards)


def _write(contents: Sequence[tuple[RawObject, bytes]]) -> set[str]:
    """Which ones the store has now. No transaction is open, and the threads use no database."""
    if len(contents) == 1:
        return {card.pk for card, raw in contents if _write_one(card, raw)}
    with ThreadPoolExecutor(THREADS, "large mail") as pool:
        done = pool.map(lambda content: _write_one(*content), contents)
        return {card.pk for (card, _), is_written in zip(contents, done, strict=True) if is_written}


def _write_one(card: RawObject, raw: bytes) -> bool:
    if monotonic() < _left_alone["until"]:
        return False
    try:
        object_store.write_and_verify(card.name, raw, card.sha256)
    except StoreUnavailable as error:
        _left_alone["until"] = monotonic() + PAUSE
        log.warning("The object store did not take a large mail, which goes into its row: %s", error)
        return False
    return True


def _let_go(cards: Sequence[RawObject]) -> None:
    """Those that no row names are to leave the store. One whose card was given up and removed before its object was written needs
    another to be found by."""
    known = RawObject.objects.filter(pk__in=[card.pk for card in cards])
    states = dict(known.values_list("pk", "state"))
    left = [pk for pk, state in states.items() if state == RawObject.State.MOVING]
    lost = [card for card in cards if card.pk not in states]
    if not (left or lost):
        return
    leaving = {"state": RawObject.State.LEAVING, "lease_token": "", "lease_until": None}
    for card in lost:
        vars(card).update(leaving)
    with transaction.atomic():
        known.filter(pk__in=left, state=RawObject.State.MOVING).update(**leaving)
        RawObject.objects.bulk_create(lost, ignore_conflicts=True)
        ring_on_commit(REMOVE_TASK)
