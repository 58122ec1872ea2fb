"""Asking what may hang: a database, a store, a server that takes connections and says nothing."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from time import monotonic
from typing import Generic, TypeVar

from django.db import connections

Answer = TypeVar("Answer")
GOOD_FOR = 1.0  # seconds


class NoAnswer(Exception):
    """None came in time."""


class Question(Generic[Answer]):
    """Is asked in a thread of its own, so that who wants to know waits as long as he likes and no longer.

    One at a time: who comes while it is asked, or within GOOD_FOR, gets the same answer. So whatever hangs holds one thread, and one
    connection to the database, however often somebody wants to know.
    """

    def __init__(self, ask: Callable[[], Answer], name: str) -> None:
        self._ask, self._name = ask, name
        self._lock = threading.Lock()
        self._asked: Future[Answer] | None = None
        self._asked_at = 0.0

    def start(self) -> "Future[Answer]":
        with self._lock:
            if self._asked is None or (self._asked.done() and monotonic() - self._asked_at >= GOOD_FOR):
                self._asked, self._asked_at = Future(), monotonic()
                threading.Thread(target=self._run, args=[self._asked], name=self._name, daemon=True).start()
            return self._asked

    def answer(self, within: float) -> Answer:
        """Raises what the asking raised, or NoAnswer after `within` seconds."""
        return answer_of(self.start(), within)

    def _run(self, asked: "Future[Answer]") -> None:
        try:
            answer = self._ask()
        except Exception as error:
            connections.close_all()
            asked.set_exception(error)
        else:
            connections.close_all()
            asked.set_result(answer)


def answer_of(asked: "Future[Answer]", within: float) -> Answer:
    """The same for one that was started."""
    if not wait([asked], max(within, 0)).done:
        raise NoAnswer(f"No answer within {within:.1f} s.")
    return asked.result()
