"""How long a batch may wait for DNS.

Mail that names domains whose servers are slow could otherwise hold up all mail behind it, as often as somebody sends it. So only a share
of the time may be spent with waiting; once it is used up, a batch waits shortly.
"""

import threading
from collections.abc import Callable
from time import monotonic

SHARE = 0.2  # of the time, on average
SAVED = 10.0  # seconds at most that are saved up
LEAST = 1.0  # seconds that a batch always has: an ordinary answer takes less


class Patience:
    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left, self._as_of = SAVED, clock()

    def seconds(self, most: float) -> float:
        with self._lock:
            now = self._clock()
            self._left = min(SAVED, self._left + SHARE * (now - self._as_of))
            self._as_of = now
            return min(most, max(LEAST, self._left))

    def note_waited(self, seconds: float) -> None:
        with self._lock:
            self._left -= seconds


PATIENCE = Patience()
