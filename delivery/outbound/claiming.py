"""Which mails leave next: in turn over the inboxes that have any, and to each provider no more at a moment than it may have.

A mail is claimed right before it is handed over, so `sending` means that it may be on the wire.
"""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from time import monotonic
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction

from delivery.claims import new_token
from delivery.models import OutboundMail
from delivery.outbound.choosing import providers_for
from delivery.outbound.outbox import may_hand_out
from delivery.outbound.signing import give_keys
from delivery.outbound.states import State
from inboxes.models import Inbox, Mode, Provider
from inboxes.rules_in_force import with_rules_flag
from mailbot.lib.clock import database_now

SEND_LEASE = timedelta(seconds=settings.SEND_LEASE)
LOOKS_FOR = 1.0  # seconds: meanwhile no outcome is written
Mails = list[OutboundMail]
# From one inbox with due mail to the next, by index: however much one of them has queued, it is looked at once. The ids of inboxes are
# walked like a ring, from where this process stopped the last time.
_WALK = """
WITH RECURSIVE walk(inbox_id) AS (
    SELECT min(inbox_id) FROM delivery_outboundmail WHERE state = 'queued' AND next_attempt_at <= %s AND inbox_id > %s
    UNION ALL
    SELECT (
        SELECT min(m.inbox_id) FROM delivery_outboundmail m
        WHERE m.state = 'queued' AND m.next_attempt_at <= %s AND m.inbox_id > walk.inbox_id
    ) FROM walk WHERE walk.inbox_id IS NOT NULL
)
SELECT inbox_id FROM walk WHERE inbox_id IS NOT NULL LIMIT %s
"""


_FIRST_OF_ONE = """
SELECT * FROM (
    SELECT id, inbox_id, mode, carrier_id FROM delivery_outboundmail
    WHERE inbox_id = %s AND state = 'queued' AND next_attempt_at <= %s ORDER BY next_attempt_at, id LIMIT %s
) AS first_due
"""


class Due(NamedTuple):
    """A mail that may be claimed, with what it takes to choose."""

    pk: str
    inbox_id: str
    mode: str
    carrier_id: str | None


class Ring:
    """Where a process is on its way around the inboxes: on the whole, and with each carrier, which may have room for few of them."""

    def __init__(self) -> None:
        self._last = ""
        self._last_with: dict[str, str] = {}

    def next(self, most: int, now: datetime) -> list[str]:
        """So many inboxes with due mail, each once."""
        found = self._walk(now, self._last, most)
        if len(found) < most and self._last:
            found += [inbox for inbox in self._walk(now, "", most - len(found)) if inbox not in found]
        self._last = found[-1] if len(found) == most else ""
        return found

    def in_turn(self, mails: list[Due], carrier: Provider | None) -> list[Due]:
        """One of each inbox, then the second ones, …, from behind the inbox that came last with this carrier."""
        last, seen = self._last_with.get(carrier.pk if carrier else "", ""), Counter[str]()
        rounds = []
        for mail in mails:
            rounds.append((seen[mail.inbox_id], mail.inbox_id <= last, mail.inbox_id))
            seen[mail.inbox_id] += 1
        return [mail for _, mail in sorted(zip(rounds, mails, strict=True), key=lambda pair: pair[0])]

    def came_last(self, mail: OutboundMail, carrier: Provider | None) -> None:
        self._last_with[carrier.pk if carrier else ""] = mail.inbox_id

    def _walk(self, now: datetime, after: str, most: int) -> list[str]:
        at = connection.ops.adapt_datetimefield_value(now)
        with connection.cursor() as cursor:
            cursor.execute(_WALK, [at, after, at, most])
            return [inbox_id for (inbox_id,) in cursor.fetchall()]


def claim_next(ring: Ring, places: int) -> Mails:
    """Take up to so many mails, each with its recipients, its inbox as `with_rules_flag` reads it and, as `carrier`, whom it goes to. They
    are this caller's for SEND_LEASE.

    None: nobody whose provider has room has any. So it goes on around the ring, at most once, past those that are paused or full; if
    they are very many, the next call goes on from there.
    """
    if not may_hand_out():
        return []
    seen: set[str] = set()
    now, ends = database_now(), monotonic() + LOOKS_FOR
    while monotonic() < ends and (inboxes := [inbox for inbox in ring.next(places, now) if inbox not in seen]):
        if taken := _claim_of(_first_due(inboxes, -(-places // len(inboxes)), now), ring, places):
            return taken
        seen.update(inboxes)
    return []


def _claim_of(due: list[Due], ring: Ring, places: int) -> Mails:
    taken: Mails = []
    for carrier, mails in _by_carrier(due).items():
        in_turn = ring.in_turn(mails, carrier)
        claimed = {mail.pk: mail for mail in _take(in_turn, carrier, places - len(taken))}
        ordered = [claimed[mail.pk] for mail in in_turn if mail.pk in claimed]
        if ordered:
            ring.came_last(ordered[-1], carrier)
        taken += ordered
    return taken


def claim_one(mail_id: str) -> OutboundMail | None:
    """Take this one, if it is due and its provider has a place for it."""
    if not may_hand_out():
        return None
    found = OutboundMail.objects.due().filter(pk=mail_id).values_list(*Due._fields)
    for carrier, mails in _by_carrier([Due(*row) for row in found]).items():
        return next(iter(_take(mails, carrier, 1)), None)
    return None


def _first_due(inboxes: list[str], most: int, now: datetime) -> list[Due]:
    """The oldest of each, so many. One statement: asked one by one, they were a third of a claim."""
    at = connection.ops.adapt_datetimefield_value(now)
    parameters = [parameter for inbox in inboxes for parameter in (inbox, at, most)]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join([_FIRST_OF_ONE] * len(inboxes)), parameters)
        return [Due(*row) for row in cursor.fetchall()]


def _by_carrier(mails: list[Due]) -> dict[Provider | None, list[Due]]:
    """None: the sandbox, or the server's own backend."""
    chosen = providers_for(Inbox.objects.filter(pk__in={mail.inbox_id for mail in mails}))
    kept = Provider.objects.in_bulk({mail.carrier_id for mail in mails if mail.carrier_id})
    found: dict[Provider | None, list[Due]] = defaultdict(list)
    for mail in mails:
        # A fallback, whoever knows it by its key from an earlier try, or the one that is tried out.
        carrier = kept.get(mail.carrier_id or "") or chosen[mail.inbox_id]
        found[None if mail.mode == Mode.TEST else carrier].append(mail)
    return found


@transaction.atomic
def _take(mails: list[Due], carrier: Provider | None, places: int) -> Mails:
    """As many as may go. The provider's row is locked, so that two workers cannot both take its last place."""
    if carrier is not None:
        row = Provider.objects.select_for_update(no_key=True).filter(pk=carrier.pk).first()
        if row is None:  # removed since it was chosen
            return []
        carrier = row
    now = database_now()  # with the lock, for which this may have waited
    if carrier is not None:
        places = min(places, _room_of(carrier, now))
    token = new_token()
    mine = OutboundMail.objects.due(now).filter(pk__in=[mail.pk for mail in mails[:places]]) if places > 0 else None
    lease = {"lease_token": token, "lease_until": now + SEND_LEASE}
    if mine is None or not mine.update(state=State.SENDING, carrier=carrier, **lease):
        return []
    rows = OutboundMail.objects.filter(lease_token=token, pk__in=[mail.pk for mail in mails])
    taken = list(rows.with_message().prefetch_related("recipients"))
    inboxes = with_rules_flag(Inbox.objects.select_related("account")).in_bulk({mail.inbox_id for mail in taken})
    for mail in taken:  # one object for all: a join would make one for each mail
        mail.inbox, mail.carrier = inboxes[mail.inbox_id], carrier
    give_keys(taken)
    return taken


def _room_of(carrier: Provider, now: datetime) -> int:
    """How many mails it may have more than it has."""
    if carrier.is_paused or (carrier.waits_until is not None and now < carrier.waits_until):
        return 0
    return carrier.concurrency - OutboundMail.objects.filter(state=State.SENDING, carrier=carrier).count()
