"""Order inside an inbox, with as many workers as one likes.

A reply often arrives right behind its parent. If two workers took one each, the reply could be filed first and find no parent. So the
mail of an inbox belongs to one of a few lanes, and a lane is processed by one worker at a time, who holds it by a lease. A mail to
several inboxes goes by its first one: the others see it in order unless two workers are at it in the same moment.
"""

import random
from datetime import datetime, timedelta
from zlib import crc32

from django.db.models import Q

from delivery.models import InboundLane, InboundMail
from mailbot.lib.clock import database_now, is_over

# Many, because whoever shares a lane with a mail that takes seconds to read waits for it.
LANES = 128
# A worker leaves some to the others; on its own it comes back for the rest at once.
LANES_AT_ONCE = 32


def lane_of(inbox_id: str) -> int:
    return crc32(inbox_id.encode()) % LANES


def take_lanes(token: str, lease: timedelta, now: datetime | None = None) -> list[int]:
    """Take some of the free lanes that have due mail, for `lease`; which ones. `release_lanes` gives them back."""
    now = now or database_now()
    wanted = set(InboundMail.objects.due(now).order_by().values_list("lane", flat=True).distinct())
    if not wanted:
        return []
    held_until = _held_until(wanted)
    free_lanes = [lane for lane in wanted if (until := held_until[lane]) is None or not now < until <= now + lease]
    # Any of them: with a fixed order the last ones would never have their turn while more comes in than is processed.
    chosen = random.sample(free_lanes, min(len(free_lanes), LANES_AT_ONCE))
    free = InboundLane.objects.filter(pk__in=chosen).filter(Q(lease_until=None) | is_over("lease_until", now, lease))
    if free.update(lease_token=token, lease_until=now + lease) == len(chosen):
        return chosen
    return list(InboundLane.objects.filter(lease_token=token).order_by("pk").values_list("pk", flat=True))


def release_lanes(token: str, *, but: int | None = None) -> None:
    """Give back what `take_lanes` took, or all of it `but` one."""
    InboundLane.objects.filter(lease_token=token).exclude(pk=but).update(lease_token="", lease_until=None)


def _held_until(lanes: set[int]) -> dict[int, datetime | None]:
    """Until when each lane is held. Rows of lanes are made when they are first needed."""
    found = dict(InboundLane.objects.filter(pk__in=lanes).values_list("pk", "lease_until"))
    if missing := lanes - found.keys():
        InboundLane.objects.bulk_create([InboundLane(pk=lane) for lane in missing], ignore_conflicts=True)
    return dict.fromkeys(missing) | found
