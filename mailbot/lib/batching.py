"""Group commit for asyncio: many callers, one worker thread, one call for all who wait.

Whatever arrives while one batch is under way forms the next. Nothing lingers for company: an idle server answers a
lone caller at once, and a busy one makes larger batches by itself. Source: DeWitt et al., "Implementation techniques
for main memory database systems" (1984), group commit.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Overloaded(Exception):
    """There is no room for another call, or no more are taken. Nothing was done; try again later."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Counts are calls; weights are in whatever unit `weigh` returns, octets for mail; `timeout` is in seconds.

    `max_queued…` counts what waits and what is under way. A batch holds at least one call, however heavy.
    """

    max_batch: int = 100
    max_batch_weight: int = 16 * 1024 * 1024
    max_queued: int = 5000
    max_queued_weight: int = 256 * 1024 * 1024
    timeout: float = 10.0


@dataclass(slots=True, eq=False)
class _Call(Generic[Item, Result]):
    item: Item
    weight: int
    answer: asyncio.Future[Result]


class GroupedCalls(Generic[Item, Result]):
    """Hands items in batches to a blocking function that runs in one thread of its own.

    `call` gets a sequence of items and returns as many results, in the same order; an exception in place of a result
    is raised to the caller of that item, and one that `call` raises goes to all callers of the batch. `on_stop` runs
    last in the same thread, to close what lives there (a database connection belongs to the thread that opened it).

    Use it from one event loop only.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        *,
        name: str,
        limits: BatchLimits | None = None,
        weigh: Callable[[Item], int] = lambda _: 0,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._call = call
        self._limits = limits or BatchLimits()
        self._weigh = weigh
        self._on_stop = on_stop
        self._waiting: dict[asyncio.Future[Result], _Call[Item, Result]] = {}
        self._under_way: list[_Call[Item, Result]] = []
        self._weight = 0
        self._start_is_due = False
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = asyncio.Event()
        self._batches: SimpleQueue[list[_Call[Item, Result]] | None] = SimpleQueue()
        # A daemon and no executor: a call that hangs for ever must not keep the process from ending.
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def submit(self, item: Item) -> Result:
        """The result for `item`.

        Raises Overloaded at once when the queue is full, TimeoutError after `limits.timeout`, or what the function
        raised. After a TimeoutError, or when the caller is cancelled, the item may still be carried out if its batch
        had begun.
        """
        call = self._enqueue(item)
        try:
            async with asyncio.timeout(self._limits.timeout):
                return await call.answer
        finally:
            if self._waiting.pop(call.answer, None):
                self._weight -= call.weight

    async def close(self, timeout: float | None = None) -> None:
        """Take no more, finish what is queued, stop the thread.

        Raises TimeoutError after `timeout` seconds; the thread is then left behind.
        """
        self._closing = True
        async with asyncio.timeout(timeout):
            await self._idle.wait()
            self._batches.put(None)
            await self._stopped.wait()

    def _enqueue(self, item: Item) -> _Call[Item, Result]:
        weight = self._weigh(item)
        queued = len(self._waiting) + len(self._under_way)
        if self._closing or queued >= self._limits.max_queued or self._weight + weight > self._limits.max_queued_weight:
            raise Overloaded
        call: _Call[Item, Result] = _Call(item, weight, self._loop.create_future())
        self._waiting[call.answer] = call
        self._weight += weight
        self._idle.clear()
        self._start_soon()
        return call

    def _start_soon(self) -> None:
        # At the end of this turn of the loop, so that all who are ready in it share one batch.
        if not self._start_is_due and not self._under_way:
            self._start_is_due = True
            self._loop.call_soon(self._start)

    def _start(self) -> None:
        self._start_is_due = False
        self._under_way = self._next_batch()
        if self._under_way:
            self._batches.put(self._under_way)
        else:
            self._idle.set()

    def _next_batch(self) -> list[_Call[Item, Result]]:
        batch: list[_Call[Item, Result]] = []
        weight = 0
        for call in self._waiting.values():
            weight += call.weight
            if batch and (len(batch) >= self._limits.max_batch or weight > self._limits.max_batch_weight):
                break
            batch.append(call)
        for call in batch:
            del self._waiting[call.answer]
        return batch

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            results = self._results([call.item for call in batch])
            self._tell(self._finish, batch, results)
            del batch, results  # the next get() may block for long: do not hold on to what was done
        try:
            self._on_stop()
        finally:
            self._tell(self._stopped.set)

    def _results(self, items: list[Item]) -> Sequence[Result | Exception]:
        try:
            results = self._call(items)
        except Exception as error:
            return [error] * len(items)
        if len(results) != len(items):
            return [RuntimeError(f"{len(results)} results for {len(items)} items")] * len(items)
        return results

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _finish(self, batch: list[_Call[Item, Result]], results: Sequence[Result | Exception]) -> None:
        self._under_way = []
        for call, result in zip(batch, results, strict=True):
            self._weight -= call.weight
            if call.answer.done():  # the caller gave up
                continue
            if isinstance(result, Exception):
                call.answer.set_exception(result)
            else:
                call.answer.set_result(result)
        self._start()
