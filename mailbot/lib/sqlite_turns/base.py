"""Django's SQLite backend, in which whoever waits to write has a turn soon.

SQLite has one writer at a time. Whoever comes while one writes sleeps and looks again, after 1, 2, 5, … and then every 100 ms: beside
processes that write one transaction after the other a request sleeps through the moments in which it could begin. Here it looks every
millisecond or two. Source: sqliteDefaultBusyCallback in sqlite.org's main.c.

And a connection that is closed stays open for whoever asks next, unless something is wrong with it (kept.py).
"""

import sqlite3
from collections.abc import Iterable
from time import monotonic
from typing import Any

from django.db.backends.sqlite3 import base

from mailbot.lib.sqlite_turns.kept import KeptConnections

LOOKS_EVERY = 2  # milliseconds, asleep within SQLite
PRIMARY = 0xFF  # of an extended result code (sqlite.org/rescode.html): SQLITE_BUSY_RECOVERY is busy too

_kept = KeptConnections()


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        return _kept.take(str(conn_params["database"])) or self._opened(conn_params)

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = self.connection.cursor(factory=WaitingCursor)
        cursor.patience = self.settings_dict["OPTIONS"].get("timeout", 5.0)
        return cursor

    def _opened(self, conn_params: dict[str, Any]) -> Any:
        """Opening it may have to wait like any write. From then on it waits as a WaitingCursor says."""
        connection = super().get_new_connection(conn_params)
        connection.execute(f"PRAGMA busy_timeout = {LOOKS_EVERY}")
        return connection

    def _close(self) -> None:
        mine = self.connection
        is_well = mine is not None and not self.errors_occurred and not mine.in_transaction
        if not (is_well and _kept.keep(str(self.get_connection_params()["database"]), mine)):
            super()._close()  # type: ignore[misc]  # django-stubs does not know it


class WaitingCursor(base.SQLiteCursorWrapper):
    """What stands alone or begins a transaction waits for `patience`, the connection's `timeout` in seconds; then OperationalError, as
    Django's own. Within a transaction there is nothing to wait for: it began as a writer (`transaction_mode`)."""

    patience: float

    def execute(self, query: str, params: Any = None) -> Any:
        deadline = monotonic() + self.patience
        while True:
            try:
                return super().execute(query, params)
            except sqlite3.OperationalError as error:
                is_busy = error.sqlite_errorcode & PRIMARY == sqlite3.SQLITE_BUSY
                if not is_busy or self.connection.in_transaction or monotonic() > deadline:
                    raise

    def executemany(self, query: str, param_list: Iterable[Any]) -> Any:
        """Outside of a transaction each is one of its own, and has its own turn."""
        if self.connection.in_transaction:
            return super().executemany(query, param_list)
        for params in param_list:
            self.execute(query, params)
        return self
