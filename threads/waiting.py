"""Waiting for a mail: many open waits, one wake-up channel a process, no thread and no polling for any of them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakKeyDictionary

from threads.wakeups import channel

Found = TypeVar("Found")


class WaitingRoom:
    """The waiters of one event loop, by inbox."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._listening = asyncio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._waiters.values()))

    async def wait(self, inbox_id: str, look: Callable[[], Awaitable[Found | None]], timeout: float) -> Found | None:
        """What `look` finds, now or within `timeout` seconds after something happened in the inbox; None when time is over.

        Subscribe, then look, then sleep: what arrives between the look and the sleep has set the bell already. Cancelling the
        call frees the place at once.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        with self._place(inbox_id) as bell:
            await self._subscribed(timeout)
            while True:
                bell.clear()
                if (found := await look()) is not None:
                    return found
                try:
                    await asyncio.wait_for(bell.wait(), deadline - asyncio.get_running_loop().time())
                except TimeoutError:
                    return None

    @contextmanager
    def _place(self, inbox_id: str):  # type: ignore[no-untyped-def]
        bell = asyncio.Event()
        self._waiters.setdefault(inbox_id, set()).add(bell)
        try:
            yield bell
        finally:
            self._waiters[inbox_id].discard(bell)
            if not self._waiters[inbox_id]:
                del self._waiters[inbox_id]
            if not self._waiters:
                self._stop_listening()

    async def _subscribed(self, timeout: float) -> None:
        """Listen, and give the channel a moment to be there; when it is away we look without it and it wakes us on its return."""
        if self._listener is None or self._listener.done():
            self._listening.clear()
            self._listener = asyncio.create_task(channel().listen(self._wake))
        try:
            await asyncio.wait_for(self._listening.wait(), min(timeout, 2.0))
        except TimeoutError:
            return

    def _stop_listening(self) -> None:
        if self._listener is not None:
            # The loop itself holds a task only weakly, also while it closes its connection.
            self._ending.add(self._listener)
            self._listener.add_done_callback(self._ending.discard)
            self._listener.cancel()
            self._listener = None

    def _wake(self, inbox_ids: set[str] | None) -> None:
        self._listening.set()
        for inbox_id in self._waiters if inbox_ids is None else inbox_ids & self._waiters.keys():
            for bell in self._waiters[inbox_id]:
                bell.set()


_rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, WaitingRoom] = WeakKeyDictionary()


def waiting_room() -> WaitingRoom:
    """The room of the running event loop: one for a server process."""
    return _rooms.setdefault(asyncio.get_running_loop(), WaitingRoom())
