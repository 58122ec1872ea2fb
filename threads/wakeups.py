"""The channel by which a process that stored something wakes the waiters of all processes.

One channel a process, chosen in settings.WAKEUPS: threads.wakeups_redis in production, threads.wakeups_sqlite in the embedded profile.
A wake-up carries the ids of inboxes and nothing else; losing one is repaired by the look that threads.waiting takes each second.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Protocol, cast

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from mailbot.lib.failpoints import failpoint

RECONNECT_AFTER = 0.2  # seconds

# Called with the inboxes that have news, or with None: "something may have been missed, look again".
Wake = Callable[[set[str] | None], None]


class Channel(Protocol):
    def publish(self, inbox_ids: Iterable[str]) -> None:
        """Tell every process. Called after the commit; never raises."""

    async def listen(self, wake: Wake) -> None:
        """Call `wake` for what arrives, until cancelled. Calls `wake(None)` once it really listens, and after each gap."""


@cache
def channel() -> Channel:
    return cast(Channel, import_string(settings.WAKEUPS)())


def wake_on_commit(inbox_ids: set[str]) -> None:
    """Once the caller's transaction is committed, wake whoever waits for these inboxes, one publication for all."""
    if inbox_ids:
        transaction.on_commit(lambda: failpoint("wakeup.before"))
        transaction.on_commit(lambda: channel().publish(sorted(inbox_ids)), robust=True)
