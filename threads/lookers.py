"""Threads that look into the database for coroutines, and keep their connections while they are in use.

A pool of ordinary threads would have to give its connection back after each look, because nothing tells when the next one comes: on
SQLite opening a new one costs more than the look. These give it back when they have had nothing to do for KEEPS_FOR.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connection

log = logging.getLogger(__name__)

KEEPS_FOR = 2.0  # seconds
Result = TypeVar("Result")
Task = tuple["Future[Any]", Callable[[], Any]]


class Lookers:
    """`number` threads, started when they are first needed."""

    def __init__(self, number: int, name: str) -> None:
        self._number, self._name = number, name
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._lock = Lock()

    async def run(self, look: Callable[[], Result]) -> Result:
        """What `look` returns or raises. It is called a second time when its connection turns out broken: it must bear that."""
        self._start()
        future: Future[Result] = Future()
        self._tasks.put((future, look))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let them finish, and end them with their connections. The next look starts them anew."""
        with self._lock:
            threads, self._threads = self._threads, []
        for _ in threads:
            self._tasks.put(None)
        for thread in threads:
            thread.join()

    def _start(self) -> None:
        with self._lock:
            while len(self._threads) < self._number:
                thread = Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=KEEPS_FOR if connection.connection is not None else None)
            except Empty:
                connection.close()
                continue
            if task is None:
                return connection.close()
            future, look = task
            if future.set_running_or_notify_cancel():
                _settle(future, look)
            del task, future, look  # or they would be held until the next one comes


def _settle(future: Future[Any], look: Callable[[], Any]) -> None:
    try:
        future.set_result(_looked(look))
    except BaseException as error:
        future.set_exception(error)


def _looked(look: Callable[[], Result]) -> Result:
    try:
        return look()
    except (OperationalError, InterfaceError) as error:
        log.info("A look is repeated with a new connection: %s", error)
        connection.close()
    try:
        return look()
    except (OperationalError, InterfaceError):
        connection.close()
        raise
