"""Wake-ups through Redis pub/sub."""

import asyncio
import logging
from collections.abc import Iterable

import redis
import redis.asyncio
from django.conf import settings

from threads.wakeups import RECONNECT_AFTER, Wake

log = logging.getLogger(__name__)

CHANNEL = "mailbot:wakeups"


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
        async with client, client.pubsub() as pubsub:
            await pubsub.subscribe(CHANNEL)
            while True:
                message = await pubsub.get_message(timeout=None)
                if message is not None:
                    wake(None if message["type"] == "subscribe" else set(message["data"].decode().split(",")))
