"""Wake-ups through the SQLite file itself."""

import asyncio
import logging
import sqlite3
from collections.abc import Iterable

from django.db import connection

from threads.wakeups import RECONNECT_AFTER, Wake

log = logging.getLogger(__name__)

WATCH_EVERY = 0.005  # seconds; reading data_version takes microseconds


class DatabaseWatcher:
    """SQLite's `PRAGMA data_version` changes when another connection has committed: cheap enough to read every 5 ms.

    Source: sqlite.org/pragma.html#pragma_data_version.
    """

    def publish(self, inbox_ids: Iterable[str]) -> None:
        """The commit itself is the news."""

    async def listen(self, wake: Wake) -> None:
        while True:
            try:
                await self._watch(wake)
            except sqlite3.Error as error:
                log.warning("Wake-ups interrupted: %s", error)
            wake(None)
            await asyncio.sleep(RECONNECT_AFTER)

    async def _watch(self, wake: Wake) -> None:
        database = sqlite3.connect(f"file:{connection.settings_dict['NAME']}?mode=ro", uri=True, isolation_level=None)
        try:
            version, newest = self._version(database), self._newest(database)
            wake(None)
            while True:
                await asyncio.sleep(WATCH_EVERY)
                if (now := self._version(database)) != version:
                    version = now
                    newest = self._tell(database, newest, wake)
        finally:
            database.close()

    def _version(self, database: sqlite3.Connection) -> int:
        return int(database.execute("PRAGMA data_version").fetchone()[0])

    def _newest(self, database: sqlite3.Connection) -> int:
        return int(database.execute("SELECT coalesce(max(rowid), 0) FROM threads_event").fetchone()[0])

    def _tell(self, database: sqlite3.Connection, newest: int, wake: Wake) -> int:
        rows = database.execute("SELECT rowid, inbox_id FROM threads_event WHERE rowid > ?", (newest,)).fetchall()
        if rows:
            wake({inbox_id for _, inbox_id in rows})
        return max([newest, *(int(rowid) for rowid, _ in rows)])
