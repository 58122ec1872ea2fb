"""Not asking a DNS that does not answer: mail must not wait for it.

A domain whose own servers are silent proves nothing about ours, and whoever sends mail could name such domains on purpose, to have
nobody's mail checked. So before it gives up, it asks for the root, which a resolver that works knows without asking anybody (what we
know of it ourselves does not count).
"""

import threading
from collections.abc import Callable
from time import monotonic

from mailbot.lib import dns
from mailbot.lib.dns import LookupFailed, NotFound, Temporary

FAILURES = 5  # in a row
PAUSE = 30.0  # seconds without a question
ROOT_WITHIN = 1.0  # seconds


def _root_answers() -> bool:
    try:
        dns.lookup(".", "NS", within=ROOT_WITHIN, fresh=True)
    except NotFound:  # a zone file, which has no root
        return True
    except LookupFailed:
        return False
    return True


class Breaker:
    """Shared by the threads of a process. `is_there`: whether DNS answers at all."""

    def __init__(self, is_there: Callable[[], bool] = _root_answers, clock: Callable[[], float] = monotonic) -> None:
        self._is_there, self._clock = is_there, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until = 0.0
        self._is_trying = False

    def ask(self, question: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
        """Raises what the question raises, or Temporary at once while DNS is away."""
        if not self._may_ask():
            raise Temporary("DNS did not answer several times; it is asked again in a while.")
        try:
            found = question()
        except NotFound:
            self._failures = 0
            raise
        except Temporary:
            self._note_failure()
            raise
        self._failures = 0
        return found

    def _may_ask(self) -> bool:
        """After the pause one asks for the root, and the others wait for what it finds without waiting."""
        with self._lock:
            if not self._open_until:
                return True
            if self._clock() < self._open_until or self._is_trying:
                return False
            self._is_trying = True
        return self._try_root()

    def _note_failure(self) -> None:
        with self._lock:
            self._failures += 1
            if self._failures < FAILURES or self._is_trying or self._open_until:
                return
            self._is_trying = True
        self._try_root()

    def _try_root(self) -> bool:
        is_there = False
        try:
            is_there = self._is_there()
        finally:
            with self._lock:
                self._is_trying = False
                self._failures = 0
                self._open_until = 0.0 if is_there else self._clock() + PAUSE
        return is_there


BREAKER = Breaker()
