"""Rates that hold for all processes together: counted by Redis, in one round trip."""

import logging
import threading
from time import monotonic

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from mailbot.lib.rates import Count, ProcessCounter, Wanted, counts_of

log = logging.getLogger(__name__)

ANSWERS_WITHIN = (
    0.25  # seconds: a call of the API waits so long for a Redis that hangs, and only one of them each PAUSE
)
PAUSE = 5.0

# By the clock of Redis, so that processes need not agree on the time. A time further ahead than the rate's own comes from a clock that
# was set back. What each name owed is answered; mailbot.lib.rates makes the rest of it.
HIT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local owed, fits = {}, true
for i, name in ipairs(KEYS) do
  local spacing, room = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  owed[i] = math.min(math.max(tonumber(redis.call('GET', name) or 0) - now, 0), room)
  fits = fits and owed[i] + spacing <= room
end
if fits then
  for i, name in ipairs(KEYS) do
    local after = owed[i] + tonumber(ARGV[2 * i - 1])
    redis.call('SET', name, string.format('%.0f', now + after), 'PX', math.ceil(after / 1000))
  end
end
return owed
"""


class RedisCounter:
    """While Redis is away each process counts by itself: limits hold more loosely, and no call fails or waits for it."""

    def __init__(self, url: str = "") -> None:
        within = {"socket_timeout": ANSWERS_WITHIN, "socket_connect_timeout": ANSWERS_WITHIN}
        self._redis = redis.Redis.from_url(url or settings.REDIS_URL, retry=Retry(NoBackoff(), 0), **within)
        self._script = self._redis.register_script(HIT)
        self._alone = ProcessCounter()
        self._lock = threading.Lock()
        self._ask_at = 0.0  # when Redis is asked again; 0: it is there

    def hit(self, wanted: Wanted) -> list[Count]:
        if self._is_away():
            return self._alone.hit(wanted)
        try:
            owed = self._owed(wanted)
        except redis.RedisError as error:
            self._note_absence(error)
            return self._alone.hit(wanted)
        self._note_presence()
        return counts_of(wanted, owed)

    def _owed(self, wanted: Wanted) -> list[int]:
        names = [f"mailbot:rate:{name}" for name, _ in wanted]
        numbers = [number for _, rate in wanted for number in (rate.spacing, rate.room)]
        return [int(debt) for debt in self._script(keys=names, args=numbers)]

    def _is_away(self) -> bool:
        """One caller each PAUSE is let through to see; the others go by."""
        if not self._ask_at:
            return False
        with self._lock:
            if monotonic() < self._ask_at:
                return True
            self._ask_at = monotonic() + PAUSE
            return False

    def _note_absence(self, error: redis.RedisError) -> None:
        log.warning("Rates are counted by this process alone, Redis does not answer: %s", error)
        with self._lock:
            self._ask_at = monotonic() + PAUSE

    def _note_presence(self) -> None:
        if self._ask_at:
            log.warning("Rates are counted by Redis again.")
            with self._lock:
                self._ask_at = 0.0
