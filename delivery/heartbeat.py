"""Whether there are workers, and beat to wake them: what they do each 15 seconds for no other purpose."""

from datetime import timedelta

from delivery.models import Heartbeat
from mailbot.lib.clock import database_now

# A worker that is busy with a queue takes its time; after so long none is there.
LATE_AFTER = timedelta(minutes=2)
ONLY = 1


def note_heartbeat() -> None:
    Heartbeat.objects.update_or_create(pk=ONLY, defaults={"beaten_at": database_now()})


def since_heartbeat() -> timedelta | None:
    """None when there has never been one."""
    last = Heartbeat.objects.filter(pk=ONLY).values_list("beaten_at", flat=True).first()
    return None if last is None else database_now() - last
