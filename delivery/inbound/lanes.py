"""Order inside an inbox, with as many workers as one likes.

A reply often arrives right behind its parent. If two workers took one each, the reply could be filed first and find no parent. So the
mail of an inbox belongs to one of a few lanes, and a lane is processed by one worker at a time, who holds it by a lease. A mail to
several inboxes goes by its first one: the others see it in order unless two workers are at it in the same moment.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from zlib import crc32

from django.db import connection

from delivery.models import InboundLane
from mailbot.lib.bulk import places
from mailbot.lib.clock import limits, over

# Many, because whoever shares a lane with a mail that takes seconds to read waits for it.
LANES = 128
# A worker leaves some to the others; on its own it comes back for the rest at once. The oldest mail says which, so that each has its turn.
LANES_AT_ONCE = 32

FREE = f"(lease_until IS NULL OR {over('lease_until')})"  # takes the parameters of `limits`
TAKE = f"UPDATE delivery_inboundlane SET lease_token = %s, lease_until = %s WHERE {FREE} AND id IN "  # noqa: S608 (our own text)


def lane_of(inbox_id: str) -> int:
    return crc32(inbox_id.encode()) % LANES


def take_lanes(wanted: Iterable[int], token: str, now: datetime, lease: timedelta) -> set[int]:
    """Take the first LANES_AT_ONCE of these lanes until `now + lease`, but for those that another worker has; which ones.

    `release_lanes` gives them back.
    """
    chosen = list(dict.fromkeys(wanted))[:LANES_AT_ONCE]
    if (taken := _take(chosen, token, now, lease)) == len(chosen):
        return set(chosen)
    known = set(InboundLane.objects.filter(pk__in=chosen).values_list("pk", flat=True))
    if new := [lane for lane in chosen if lane not in known]:
        InboundLane.objects.bulk_create([InboundLane(pk=lane) for lane in new], ignore_conflicts=True)
        taken += _take(new, token, now, lease)
    return set(InboundLane.objects.filter(lease_token=token).values_list("pk", flat=True)) if taken else set()


def release_lanes(token: str, *, but: Collection[int] = ()) -> None:
    """Give back what `take_lanes` took, `but` these."""
    ours = InboundLane.objects.filter(lease_token=token)
    if but:
        ours = ours.exclude(pk__in=but)
    ours.update(lease_token="", lease_until=None)


def _take(lanes: list[int], token: str, now: datetime, lease: timedelta) -> int:
    until = connection.ops.adapt_datetimefield_value(now + lease)
    with connection.cursor() as cursor:
        cursor.execute(TAKE + places(len(lanes)), [token, until, *limits(now, lease), *lanes])
        return int(cursor.rowcount)
