"""Ringing the doorbell: telling a worker that there may be work.

A hint carries nothing but the name of a task. Losing one costs time, never work: the rows are the queue and a sweep reads them.
"""

import logging
import threading
import time
from collections.abc import Callable

from celery import current_app
from django.db import transaction
from kombu.exceptions import KombuError

log = logging.getLogger(__name__)

PAUSE = 0.02  # seconds


def ring(task: str) -> None:
    """Ask a worker to run `task` soon. Returns at once and never raises: no request and no 250 waits for a broker."""
    _doorbell.ring(task)


def ring_on_commit(task: str) -> None:
    """The same, once the caller's transaction is committed: before that a worker would look and see nothing."""
    transaction.on_commit(lambda: ring(task), robust=True)


def send(task: str) -> None:
    """Hand one hint to the broker. Blocks for as long as the broker lets it, but never raises for its sake."""
    try:
        current_app.send_task(task, ignore_result=True, expires=60)
    except (KombuError, OSError) as error:
        log.warning("No hint for %s: the broker cannot be reached (%s). The sweep will find the work.", task, error)


class Doorbell:
    """Calls `answer` with what was rung for, from a thread of its own, so that whoever rings never waits.

    There is one place for each name: rings that come while one is under way become one. Each is followed by a `pause` (seconds).
    """

    def __init__(self, answer: Callable[[list[str]], None], *, name: str, pause: float = 0.0) -> None:
        self._answer, self._name, self._pause = answer, name, pause
        self._wanted: set[str] = set()
        self._lock = threading.Lock()
        self._rung = threading.Event()
        self._thread: threading.Thread | None = None

    def ring(self, *names: str) -> None:
        with self._lock:
            self._wanted.update(names)
            if self._thread is None or not self._thread.is_alive():  # a forked child has none of its parent's threads
                self._thread = threading.Thread(target=self._listen, name=self._name, daemon=True)
                self._thread.start()
        self._rung.set()

    def _listen(self) -> None:
        while self._rung.wait():
            self._rung.clear()
            with self._lock:
                wanted, self._wanted = self._wanted, set()
            try:
                self._answer(sorted(wanted))
            except Exception:
                log.exception("Ringing for %s failed. What is lost is found by looking again.", ", ".join(wanted))
            time.sleep(self._pause)


def _send_all(tasks: list[str]) -> None:
    for task in tasks:
        send(task)


# Paused, because under load a hint per batch would cost more than the batch; the worker reads rows until there are none.
_doorbell = Doorbell(_send_all, name="doorbell", pause=PAUSE)
