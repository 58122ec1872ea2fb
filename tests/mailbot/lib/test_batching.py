import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from mailbot.lib.batching import BatchLimits, GroupedCalls, Overloaded


class Blocking:
    """A function that records its batches, and waits inside the first until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        self.threads.add(threading.get_ident())
        self.entered.set()
        assert self.go_on.wait(10)
        return [ValueError(f"{item} is odd") if item % 2 else item * 10 for item in items]


async def one_under_way(calls: GroupedCalls[int, int], blocking: Blocking) -> asyncio.Task[int]:
    first = asyncio.create_task(calls.submit(0))
    await asyncio.to_thread(blocking.entered.wait, 10)
    return first


async def waiting(calls: GroupedCalls[int, int], items: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(calls.submit(item)) for item in items]
    await asyncio.sleep(0)  # each has run up to its wait
    return tasks


class TestGroupedCalls:
    def test_it_makes_one_batch_of_all_that_came_while_the_last_was_under_way(self):
        async def check() -> None:
            blocking = Blocking()
            calls = GroupedCalls(blocking, name="test")
            first = await one_under_way(calls, blocking)
            rest = await waiting(calls, [2, 4, 6])
            blocking.go_on.set()
            assert await asyncio.gather(first, *rest) == [0, 20, 40, 60]
            assert blocking.batches == [[0], [2, 4, 6]]
            assert len(blocking.threads) == 1
            await calls.close()

        asyncio.run(check())

    def test_it_gives_each_caller_its_own_result_or_exception(self):
        async def check() -> None:
            blocking = Blocking()
            blocking.go_on.set()
            calls = GroupedCalls(blocking, name="test")
            results = await asyncio.gather(*(calls.submit(item) for item in (2, 3)), return_exceptions=True)
            assert results[0] == 20
            assert isinstance(results[1], ValueError)
            assert blocking.batches == [[2, 3]]  # both were ready in one turn of the loop
            await calls.close()

        asyncio.run(check())

    @pytest.mark.parametrize("results", [None, [1], [1, 2, 3]])
    def test_it_gives_all_the_exception_of_the_batch_or_of_a_wrong_number_of_results(self, results):
        def call(items: Sequence[int]) -> Any:
            if results is None:
                raise OSError("gone")
            return results

        async def check() -> None:
            calls = GroupedCalls(call, name="test")
            answers = await asyncio.gather(*(calls.submit(item) for item in (1, 2)), return_exceptions=True)
            assert {type(answer) for answer in answers} == {OSError if results is None else RuntimeError}
            await calls.close()

        asyncio.run(check())

    def test_it_refuses_at_once_when_it_is_full_by_count_or_by_weight(self):
        async def check() -> None:
            blocking = Blocking()
            limits = BatchLimits(max_queued=3, max_queued_weight=10)
            calls = GroupedCalls(blocking, name="test", limits=limits, weigh=lambda item: item)
            first = await one_under_way(calls, blocking)
            rest = await waiting(calls, [8])
            with pytest.raises(Overloaded):
                await calls.submit(4)
            rest += await waiting(calls, [2])
            with pytest.raises(Overloaded):
                await calls.submit(0)
            blocking.go_on.set()
            await asyncio.gather(first, *rest)
            assert await calls.submit(10) == 100  # there is room again
            await calls.close()

        asyncio.run(check())

    def test_it_keeps_batches_within_their_limits_but_takes_what_is_heavy_alone(self):
        async def check() -> None:
            blocking = Blocking()
            limits = BatchLimits(max_batch=2, max_batch_weight=10)
            calls = GroupedCalls(blocking, name="test", limits=limits, weigh=lambda item: item)
            first = await one_under_way(calls, blocking)
            rest = await waiting(calls, [2, 4, 6, 50, 8])
            blocking.go_on.set()
            await asyncio.gather(first, *rest)
            assert blocking.batches == [[0], [2, 4], [6], [50], [8]]
            await calls.close()

        asyncio.run(check())

    def test_it_does_not_wait_for_ever_and_forgets_who_gave_up(self):
        async def check() -> None:
            blocking = Blocking()
            calls = GroupedCalls(blocking, name="test", limits=BatchLimits(timeout=0.05, max_queued=2))
            started = time.monotonic()
            answers = await asyncio.gather(calls.submit(2), calls.submit(4), return_exceptions=True)
            assert {type(answer) for answer in answers} == {TimeoutError}
            assert time.monotonic() - started < 5
            with pytest.raises(Overloaded):  # those two are still under way, and count
                await calls.submit(6)
            blocking.go_on.set()
            await calls.close()
            assert blocking.batches == [[2, 4]]

        asyncio.run(check())

    def test_it_drops_what_waits_when_its_caller_goes(self):
        async def check() -> None:
            blocking = Blocking()
            calls = GroupedCalls(blocking, name="test")
            first = await one_under_way(calls, blocking)
            (gone,) = await waiting(calls, [2])
            gone.cancel()
            await asyncio.sleep(0)
            blocking.go_on.set()
            await first
            await calls.close()
            assert blocking.batches == [[0]]

        asyncio.run(check())

    def test_it_finishes_what_is_queued_when_it_closes_and_takes_no_more(self):
        async def check() -> None:
            blocking = Blocking()
            stopped: list[int] = []
            calls = GroupedCalls(blocking, name="test", on_stop=lambda: stopped.append(threading.get_ident()))
            first = await one_under_way(calls, blocking)
            rest = await waiting(calls, [2])
            closing = asyncio.create_task(calls.close())
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await calls.submit(4)
            blocking.go_on.set()
            await closing
            assert (await first, await rest[0]) == (0, 20)
            assert set(stopped) == blocking.threads

        asyncio.run(check())

    def test_it_leaves_behind_a_call_that_hangs(self):
        async def check() -> None:
            blocking = Blocking()
            calls = GroupedCalls(blocking, name="test", limits=BatchLimits(timeout=0.05))
            with pytest.raises(TimeoutError):
                await calls.submit(0)
            with pytest.raises(TimeoutError):
                await calls.close(timeout=0.05)
            blocking.go_on.set()

        asyncio.run(check())
