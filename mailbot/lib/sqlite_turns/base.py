"""Django's SQLite backend, in which whoever waits to write has a turn soon.

SQLite has one writer at a time. Whoever comes while one writes sleeps and looks again, after 1, 2, 5, … and then every 100 ms: beside
processes that write one transaction after the other a request sleeps through the moments in which it could begin. Here it looks every
millisecond or two. Source: sqliteDefaultBusyCallback in sqlite.org's main.c.

And a connection that is closed stays open for whoever asks next, unless something is wrong with it (kept.py).
"""

import sqlite3
from time import monotonic
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError

from mailbot.lib.sqlite_turns.kept import KeptConnections

LOOKS_EVERY = 2  # milliseconds, asleep within SQLite


_kept = KeptConnections()


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        return _kept.take(str(conn_params["database"])) or super().get_new_connection(conn_params)

    def _close(self) -> None:
        mine = self.connection
        is_well = mine is not None and not self.errors_occurred and not mine.in_transaction
        if not (is_well and _kept.keep(str(self.get_connection_params()["database"]), mine)):
            super()._close()  # type: ignore[misc]  # django-stubs does not know it

    def _start_transaction_under_autocommit(self) -> None:
        """Raises OperationalError when the connection's `timeout` (seconds) is over, as Django's own."""
        patience = self.settings_dict["OPTIONS"].get("timeout", 5.0)
        deadline = monotonic() + patience
        self._set_busy_timeout(LOOKS_EVERY)
        try:
            while not self._begun():
                if monotonic() > deadline:
                    raise OperationalError("database is locked")
        finally:
            self._set_busy_timeout(int(patience * 1000))

    def _begun(self) -> bool:
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]  # django-stubs does not know it
        except OperationalError as error:
            if getattr(error.__cause__, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
                raise
            # Its frames refer to it, and to the cursor. Left to the collector, that may run in the thread that writes and would have to
            # wait there for this connection's mutex, which whoever waits for his turn holds.
            for seen in filter(None, (error, error.__cause__, error.__context__)):
                seen.__traceback__ = None
            return False
        return True

    def _set_busy_timeout(self, milliseconds: int) -> None:
        self.connection.execute(f"PRAGMA busy_timeout = {milliseconds}")
