"""Waiting for a mail: many open waits, one wake-up channel a process, no thread and no polling for any of them.

A wake-up says in which inboxes something happened. One look answers all waits of these inboxes; what happens meanwhile is in the next one.
So a mail that a thousand waits are open for costs one look, and a burst of mail no more looks than fit behind each other.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from django.db import InterfaceError, OperationalError

from threads.wakeups import RECONNECT_AFTER, channel

log = logging.getLogger(__name__)

# Seconds. The channel stays for the next wait, which an agent that was answered opens soon.
LINGERS = 30.0
# Seconds. A wake-up may be lost: whoever stored a mail may be killed before it tells. One query looks for all waits.
LOOKS_ANYWAY_EVERY = 1.0

Wish = TypeVar("Wish")
Found = TypeVar("Found")
# What it finds for those of the wishes for which there is something by now.
Look = Callable[[Sequence[Wish]], Awaitable[Mapping[Wish, Found]]]


class Waiter(Generic[Wish, Found]):
    """A place in the room. `found` is there once something was; `has_news`: something happened before it slept."""

    __slots__ = ("alarm", "error", "found", "has_news", "inbox_id", "wish")

    def __init__(self, inbox_id: str) -> None:
        self.inbox_id = inbox_id
        self.wish: Wish | None = None
        self.found: Found | None = None
        self.error: Exception | None = None
        self.has_news = False
        self.alarm: asyncio.Timeout | None = None

    def end(self) -> None:
        if self.alarm is not None and not self.alarm.expired():
            self.alarm.reschedule(asyncio.get_running_loop().time())


class WaitingRoom(Generic[Wish, Found]):
    """The waiters of one event loop, by inbox."""

    def __init__(self, look: Look[Wish, Found]) -> None:
        self._look = look
        self._waiters: dict[str, set[Waiter[Wish, Found]]] = {}
        self._news: set[str] = set()
        self._looking: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(map(len, self._waiters.values()))

    @contextmanager
    def place(self, inbox_id: str) -> Iterator[Waiter[Wish, Found]]:
        """Wake-ups for the inbox are noted from here on, so: take a place, then look, then sleep.

        The channel wakes everybody when it is there, so nobody has to wait for it.
        """
        waiter: Waiter[Wish, Found] = Waiter(inbox_id)
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(channel().listen(self._wake))
        self._waiters.setdefault(inbox_id, set()).add(waiter)
        if len(self._waiters) == 1 and len(self._waiters[inbox_id]) == 1:
            self._set_timer(LOOKS_ANYWAY_EVERY, self._look_anyway)
        try:
            yield waiter
        finally:
            self._waiters[inbox_id].discard(waiter)
            if not self._waiters[inbox_id]:
                del self._waiters[inbox_id]
            if not self._waiters:
                self._set_timer(LINGERS, self._stop_listening)

    async def sleep(
        self, waiter: Waiter[Wish, Found], wish: Wish, left: Callable[[], Awaitable[None]], timeout: float
    ) -> Found | None:
        """What was found within `timeout` seconds; None when time is over, or when `left` says that nobody waits any more.

        The client's leaving is what the coroutine really waits for, so that a wait is one task and no more.
        """
        waiter.wish = wish
        try:
            async with asyncio.timeout(timeout) as waiter.alarm:
                if waiter.has_news:
                    self._wake({waiter.inbox_id})
                await left()
        except TimeoutError:
            pass
        finally:
            waiter.alarm = None
        if waiter.error is not None:
            raise waiter.error
        return waiter.found

    def _wake(self, inbox_ids: set[str] | None) -> None:
        self._have_looked_at(set(self._waiters) if inbox_ids is None else inbox_ids & self._waiters.keys())

    def _have_looked_at(self, inbox_ids: set[str]) -> None:
        self._news.update(inbox_ids)
        if self._news and self._looking is None:
            self._looking = asyncio.create_task(self._look_while_there_is_news())

    async def _look_while_there_is_news(self) -> None:
        try:
            while self._news:
                inbox_ids, self._news = self._news, set()
                await self._look_at(inbox_ids)
        finally:
            self._looking = None

    async def _look_at(self, inbox_ids: set[str]) -> None:
        asleep = {}
        for inbox_id in inbox_ids:
            for waiter in self._waiters.get(inbox_id, ()):
                if waiter.wish is None:
                    waiter.has_news = True
                elif waiter.found is None:
                    asleep[waiter.wish] = waiter
        try:
            found = await self._look(list(asleep)) if asleep else {}
        except (OperationalError, InterfaceError) as error:
            log.warning("Waits cannot look into the database: %s", error)
            self._news |= inbox_ids
            await asyncio.sleep(RECONNECT_AFTER)
        except Exception as error:
            for waiter in asleep.values():
                waiter.error = error
                waiter.end()
        else:
            for wish, answer in found.items():
                asleep[wish].found = answer
                asleep[wish].end()

    def _look_anyway(self) -> None:
        self._have_looked_at(set(self._waiters))
        self._set_timer(LOOKS_ANYWAY_EVERY, self._look_anyway)

    def _set_timer(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            # The loop itself holds a task only weakly, also while it closes its connection.
            self._ending.add(self._listener)
            self._listener.add_done_callback(self._ending.discard)
            self._listener.cancel()
            self._listener = None


_rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, WaitingRoom[Any, Any]] = WeakKeyDictionary()


def waiting_room(look: Look[Wish, Found]) -> WaitingRoom[Wish, Found]:
    """The room of the running event loop: one for a server process."""
    loop = asyncio.get_running_loop()
    if loop not in _rooms:
        _rooms[loop] = WaitingRoom(look)
    return _rooms[loop]
