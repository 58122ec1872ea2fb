"""Claiming a batch of inbound mail: which one, and the sole right to it for as long as a lease.

In SQL, because the ORM takes longer to write these statements than the database to carry them out, and a mail that comes alone waits for
each. The conditions are in the statements themselves: of two workers that chose the same row the first one gets it.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from delivery.inbound.lanes import FREE, LANES, LANES_AT_ONCE, release_lanes, take_lanes
from delivery.inbound.receive import LARGE, PROCESS_TASK
from delivery.models import DUE, InboundMail, due_limits
from mailbot.lib.bulk import places
from mailbot.lib.clock import database_now, limits
from mailbot.lib.hints import ring_on_commit
from mailbot.lib.transactions import quick_commit, read_in_order

LEASE = timedelta(seconds=settings.INBOUND_LEASE)
BATCH_OCTETS = 32 * 1024 * 1024
BATCH_CLAIMS = 6

CANDIDATES = f"""
    SELECT id, lane, size, attempts FROM delivery_inboundmail
    WHERE {DUE} AND lane NOT IN (SELECT id FROM delivery_inboundlane WHERE NOT {FREE})
    ORDER BY id LIMIT %s"""  # noqa: S608 (our own text)
CLAIM = f"""
    UPDATE delivery_inboundmail
    SET state = 'processing', lease_token = %s, lease_until = %s, attempts = attempts + 1
    WHERE {DUE} AND id IN """  # noqa: S608 (our own text)
CLAIMED = "SELECT {columns} FROM delivery_inboundmail WHERE lease_token = %s AND id IN {ids} ORDER BY id"


class Candidate(NamedTuple):
    id: str
    lane: int
    size: int
    attempts: int


@quick_commit()  # a claim that is lost with the server is one that nobody has made
def claim_batch(token: str, limit: int) -> list[InboundMail]:
    """The next batch, in order, and the right to the lanes that it is of; nothing when there is none.

    Claiming counts as an attempt: a mail that kills whoever reads it leaves no other trace. `release_lanes` ends it.
    """
    # One moment for both: a lane whose lease is over before its mail's would give away what lies behind it.
    now = database_now()
    found = _candidates(now, limit * LANES // LANES_AT_ONCE)
    if not found:
        return []
    lanes = take_lanes((each.lane for each in found), token, now, LEASE)
    mails = _claim(_batch([each for each in found if each.lane in lanes][:limit]), token, now)
    if not mails:
        release_lanes(token)
    elif mails[0].size > LARGE:
        _leave_the_others(token, mails[0])
    return mails


def _candidates(now: datetime, limit: int) -> list[Candidate]:
    with read_in_order(), connection.cursor() as cursor:
        cursor.execute(CANDIDATES, [*due_limits(now), *limits(now, LEASE), limit])
        return [Candidate(*row) for row in cursor.fetchall()]


def _batch(due: Iterable[Candidate]) -> list[str]:
    """The first ones up to BATCH_OCTETS together, but at least one.

    What was claimed BATCH_CLAIMS times goes alone: if it ends its worker, and not when it is read, then nothing else with it.
    """
    chosen: list[str] = []
    octets = 0
    for mail in due:
        octets += mail.size
        goes_alone = mail.attempts >= BATCH_CLAIMS or mail.size > LARGE
        if chosen and (octets > BATCH_OCTETS or goes_alone):
            break
        chosen.append(mail.id)
        if goes_alone:
            break
    return chosen


def _claim(chosen: list[str], token: str, now: datetime) -> list[InboundMail]:
    if not chosen:
        return []
    until = connection.ops.adapt_datetimefield_value(now + LEASE)
    with connection.cursor() as cursor:
        cursor.execute(CLAIM + places(len(chosen)), [token, until, *due_limits(now), *chosen])
    columns = ", ".join(str(field.column) for field in InboundMail._meta.concrete_fields)
    statement = CLAIMED.format(columns=columns, ids=places(len(chosen)))
    return list(InboundMail.objects.raw(statement, [token, *chosen]))


def _leave_the_others(token: str, mail: InboundMail) -> None:
    """A large mail takes seconds: meanwhile another worker may have all lanes but its own, and is told so."""
    release_lanes(token, but=[mail.lane])
    ring_on_commit(PROCESS_TASK)
