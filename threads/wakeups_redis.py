"""Wake-ups through Redis pub/sub."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from mailbot.lib.hints import Doorbell
from threads.wakeups import RECONNECT_AFTER, Wake

log = logging.getLogger(__name__)

CHANNEL = "mailbot:wakeups"
ASK_AFTER = 1.0  # seconds of silence, then Redis is asked whether it is there
# Seconds. Generous, because each false alarm lets all waits look again, and a busy process is late itself.
ANSWERS_WITHIN = 2.0


class RedisChannel:
    def __init__(self) -> None:
        # The client's own retries would hold each publication for seconds while Redis is away; who waits looks again by then.
        self._redis = redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
        )
        # From a thread of its own: no request and no worker waits for a Redis that hangs.
        self._doorbell = Doorbell(self._publish, name="wake-ups")

    def publish(self, inbox_ids: Iterable[str]) -> None:
        self._doorbell.ring(*inbox_ids)

    def _publish(self, inbox_ids: list[str]) -> None:
        try:
            self._redis.publish(CHANNEL, ",".join(inbox_ids))
        except redis.RedisError as error:
            log.warning("Wake-up not published: %s. Waiters look again while Redis is away.", error)

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
        client = redis.asyncio.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=ANSWERS_WITHIN,
            socket_connect_timeout=ANSWERS_WITHIN,
            retry=AsyncRetry(NoBackoff(), 0),
        )
        async with client, client.pubsub() as pubsub:
            await pubsub.subscribe(CHANNEL)
            while True:
                message = await _next_message(pubsub)
                if message["type"] == "subscribe":
                    wake(None)
                elif message["type"] == "message":
                    wake(set(message["data"].decode().split(",")))


async def _next_message(pubsub: PubSub) -> dict[str, Any]:
    """The next one, an answer to our asking among them. Raises redis.TimeoutError when Redis has stopped to answer.

    A Redis that hangs keeps its connections: nothing but its silence tells of it.
    """
    message: dict[str, Any] | None = await pubsub.get_message(timeout=ASK_AFTER)
    if message is None:
        await pubsub.ping()
        message = await pubsub.get_message(timeout=ANSWERS_WITHIN)
    if message is None:
        raise redis.TimeoutError("Redis does not answer.")
    return message
