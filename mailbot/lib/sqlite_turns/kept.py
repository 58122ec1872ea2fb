"""Open connections to SQLite that nobody uses just now.

Each request has a thread of its own, and with it a connection: opening one and reading the schema took 1.8 ms of its 7. They have no state
of whoever had them: what Django sets it sets again when it connects.
"""

import os
import threading
from typing import Any

MOST_KEPT = 4  # of a process, for each database: each may hold as much memory as `cache_size` says


class KeptConnections:
    """Safe to use from any thread. A process that was forked begins with none: SQLite's must not be carried across."""

    def __init__(self) -> None:
        self._lock, self._idle = threading.Lock(), dict[str, list[Any]]()
        self._of_parents: list[Any] = []
        os.register_at_fork(after_in_child=self._forget)

    def take(self, database: str) -> Any | None:
        """The one that was used last, which knows most of what is asked next."""
        with self._lock:
            return idle.pop() if (idle := self._idle.get(database)) else None

    def keep(self, database: str, connection: Any) -> bool:
        """Whether there was room."""
        with self._lock:
            idle = self._idle.setdefault(database, [])
            if len(idle) >= MOST_KEPT:
                return False
            idle.append(connection)
            return True

    def _forget(self) -> None:
        # Those of a parent are not closed here, not by the collector either: that would write to its files.
        self._of_parents.append(self._idle)
        self._lock, self._idle = threading.Lock(), dict[str, list[Any]]()
