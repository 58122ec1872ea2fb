"""Rows of a queue whose work is waiting for servers of others: done in threads, some at a time, and settled where the database is."""

from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from time import monotonic
from typing import TypeVar

Row = TypeVar("Row")
Found = TypeVar("Found")


def work_through(
    *,
    claim: Callable[[Collection[Row]], Row | None],
    ask: Callable[[Row], Found],
    settle: Callable[[Row, Found], None],
    at_once: int,
    seconds: float,
) -> int:
    """Claim, ask and settle row after row until there is none, or no new ones once `seconds` are over; how many there were.

    `claim` is told which rows are on their way, so that it can be fair. `ask` runs in a thread and touches no database. None of the three
    may raise for what is the matter with one row: it would hold up all the others.
    """
    ends, done = monotonic() + seconds, 0
    with ThreadPoolExecutor(at_once, "ask") as pool:
        asked: dict[Future[Found], Row] = {}
        while True:
            while monotonic() < ends and len(asked) < at_once and (row := claim(asked.values())) is not None:
                asked[pool.submit(ask, row)] = row
            if not asked:
                return done
            for future in wait(asked, return_when=FIRST_COMPLETED).done:
                settle(asked.pop(future), future.result())
                done += 1
