"""Work that is mostly waiting for servers of others, who may be as slow as they like: done in threads, some at a time, and settled where
the database is.

One process does it at a time, whatever it is about and however many there are: all the others have mail to move. It has this turn by a
lease, which it renews; who was stopped meanwhile takes no new rows, and those that it has are fenced by leases of their own.
"""

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any

from django.db.models import Q, QuerySet

from audit.actors import acting_as_system
from delivery.claims import new_token
from delivery.models import SlowTurn
from mailbot.lib.clock import database_now, is_over

WAIT_TASK = "delivery.tasks.wait_for_others"  # which does it
SECONDS = 30.0  # then the worker does something else for a moment
LEASE = timedelta(seconds=30)
RENEWED_EVERY = 5.0  # seconds
LOOKS_EVERY = 1.0  # seconds: what came meanwhile need not wait for a server that is slow


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of one kind. `claim` is told which rows are on their way, so that it can be fair; `ask` runs in a thread without a database.
    None of the three may raise for what is the matter with one row: it would hold up all the others.
    """

    actor: str  # in the trail
    at_once: int
    due: Callable[[], QuerySet[Any]]
    claim: Callable[[Collection[Any]], Any | None]
    ask: Callable[[Any], Any]
    settle: Callable[[Any, Any], None]


def work_through(*sources: Source) -> int:
    """Claim, ask and settle row after row of these until there is none, or no new ones once SECONDS are over; how many there were. None
    where somebody else has the turn."""
    if not any(_is_due(source) for source in sources):
        return 0
    with _turn() as renewed:
        return _work_through(sources, renewed)


def _is_due(source: Source) -> bool:
    with acting_as_system(source.actor):
        return source.due().exists()


def _work_through(sources: Collection[Source], renewed: Callable[[], bool]) -> int:
    ends, done = monotonic() + SECONDS, 0
    with ThreadPoolExecutor(sum(source.at_once for source in sources), "ask") as pool:
        asked: dict[Future[Any], tuple[Source, Any]] = {}
        while True:
            if renewed() and monotonic() < ends:
                for source in sources:
                    _claim(source, asked, pool)
            if not asked:
                return done
            for future in wait(asked, LOOKS_EVERY, FIRST_COMPLETED).done:
                source, row = asked.pop(future)
                with acting_as_system(source.actor):
                    source.settle(row, future.result())
                done += 1


def _claim(source: Source, asked: dict[Future[Any], tuple[Source, Any]], pool: ThreadPoolExecutor) -> None:
    """As many as it may have on their way."""
    with acting_as_system(source.actor):
        flying = [row for its, row in asked.values() if its is source]
        while len(flying) < source.at_once and (row := source.claim(flying)) is not None:
            asked[pool.submit(source.ask, row)] = (source, row)
            flying.append(row)


@contextmanager
def _turn() -> Iterator[Callable[[], bool]]:
    """Gives a question, to be asked now and then: whether this process has the turn."""
    token, asked_at, is_ours = new_token(), float("-inf"), True

    def renewed() -> bool:
        nonlocal asked_at, is_ours
        if is_ours and monotonic() - asked_at > RENEWED_EVERY:
            asked_at, is_ours = monotonic(), _take(token)
        return is_ours

    try:
        yield renewed
    finally:
        SlowTurn.objects.filter(lease_token=token).update(lease_token="", lease_until=None)


def _take(token: str) -> bool:
    now = database_now()
    free = Q(lease_token=token) | Q(lease_until=None) | is_over("lease_until", now, LEASE)
    ours = {"lease_token": token, "lease_until": now + LEASE}
    if SlowTurn.objects.filter(free, pk=1).update(**ours):
        return True
    if SlowTurn.objects.exists():
        return False
    SlowTurn.objects.bulk_create([SlowTurn(pk=1)], ignore_conflicts=True)
    return bool(SlowTurn.objects.filter(free, pk=1).update(**ours))
