"""The channel by which a process that stored something wakes the waiters of all processes.

One channel a process, chosen in settings.WAKEUPS: Redis in production, the database file itself in the embedded profile. A wake-up
carries the ids of inboxes and nothing else; losing one is repaired by looking again.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable
from functools import cache
from typing import Protocol, cast

import redis
import redis.asyncio
from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

log = logging.getLogger(__name__)

CHANNEL = "mailbot:wakeups"
WATCH_EVERY = 0.02  # seconds; reading data_version takes microseconds
RECONNECT_AFTER = 0.2  # seconds

# Called with the inboxes that have news, or with None: "something may have been missed, look again".
Wake = Callable[[set[str] | None], None]


class Channel(Protocol):
    def publish(self, inbox_ids: Iterable[str]) -> None:
        """Tell every process. Called after the commit; never raises."""

    async def listen(self, wake: Wake) -> None:
        """Call `wake` for what arrives, until cancelled. Calls `wake(None)` once it really listens, and after each gap."""


class RedisChannel:
    def __init__(self) -> None:
        self._redis = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)

    def publish(self, inbox_ids: Iterable[str]) -> None:
        try:
            self._redis.publish(CHANNEL, ",".join(inbox_ids))
        except redis.RedisError as error:
            log.warning("Wake-up not published: %s. Waiters look again when Redis is back.", error)

    async def listen(self, wake: Wake) -> None:
        while True:
            try:
                await self._listen_once(wake)
            except (redis.RedisError, OSError) as error:
                log.warning("Wake-ups interrupted: %s", error)
            # While Redis is away waiters are woken at this pace, so that they wait for nothing that has come.
            wake(None)
            await asyncio.sleep(RECONNECT_AFTER)

    async def _listen_once(self, wake: Wake) -> None:
        client = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2, health_check_interval=15)
        try:
            pubsub = client.pubsub(ignore_subscribe_messages=False)
            await pubsub.subscribe(CHANNEL)
            async for message in pubsub.listen():
                wake(None if message["type"] == "subscribe" else set(message["data"].decode().split(",")))
        finally:
            await client.aclose()


class DatabaseWatcher:
    """SQLite's `PRAGMA data_version` changes when another connection has committed: cheap enough to read every 20 ms.

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


@cache
def channel() -> Channel:
    return cast(Channel, import_string(settings.WAKEUPS)())


def wake_on_commit(inbox_ids: set[str]) -> None:
    """Once the caller's transaction is committed, wake whoever waits for these inboxes, one publication for all."""
    if inbox_ids:
        transaction.on_commit(lambda: channel().publish(sorted(inbox_ids)), robust=True)
