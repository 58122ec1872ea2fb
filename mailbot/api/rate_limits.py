"""How often a key, and an account with all its keys, may call the API: counted once a call, told in headers of every answer.

One call is one hit, whatever it asks for; a wait of 25 seconds is one. Settings say how much (RATE_LIMIT_…) and where it is counted
(RATE_COUNTER): in Redis for all processes together, otherwise in each process by itself.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from django.conf import settings
from django.utils.module_loading import import_string

from mailbot.api.errors import ApiError, Code
from mailbot.api.permissions import Principal
from mailbot.lib.rates import Count, Counter, Rate

WHOSE = {"key": "this API key", "account": "all keys of this account together"}
SETTING = {"key": "MAILBOT_RATE_LIMIT_KEY", "account": "MAILBOT_RATE_LIMIT_ACCOUNT"}


@cache
def counter() -> Counter:
    """The one of this process."""
    return cast(Counter, import_string(settings.RATE_COUNTER)())


@dataclass(frozen=True, slots=True)
class CallCount:
    """The rates that hold for a call, by `key` and `account`, with what is left of them. Those that are off are absent."""

    counts: dict[str, Count]

    @property
    def scarcest(self) -> str:
        """The one that refuses, or else has least left."""
        return min(self.counts, key=lambda scope: (-self.counts[scope].wait, self.counts[scope].remaining))

    @property
    def headers(self) -> dict[str, str]:
        """Of the scarcest. `RateLimit-Reset` is in seconds until all of it is there again."""
        if not self.counts:
            return {}
        count = self.counts[self.scarcest]
        return {
            "RateLimit-Limit": str(count.rate.amount),
            "RateLimit-Remaining": str(count.remaining),
            "RateLimit-Reset": str(math.ceil(count.full_after)),
        }


def count_call(principal: Principal) -> CallCount:
    """Count one call by this key. Raises ApiError `rate_limited`, which has the headers too; such a call is not counted."""
    # In braces: Redis Cluster keeps names with the same part in braces together.
    names = {"key": f"{{{principal.account_id}}}:{principal.pk}", "account": f"{{{principal.account_id}}}"}
    rates: dict[str, Rate | None] = {"key": settings.RATE_LIMIT_KEY, "account": settings.RATE_LIMIT_ACCOUNT}
    wanted = {scope: (names[scope], rate) for scope, rate in rates.items() if rate}
    call = CallCount(dict(zip(wanted, counter().hit(list(wanted.values())), strict=True)) if wanted else {})
    if not all(count.fits for count in call.counts.values()):
        raise _refused(call)
    return call


def _refused(call: CallCount) -> ApiError:
    scope = call.scarcest
    count = call.counts[scope]
    return too_many(
        f"Too many calls: {count.rate} is the most for {WHOSE[scope]}.",
        count.wait,
        f"Or ask whoever runs this server to raise {SETTING[scope]}.",
        call.headers,
        limit=scope,
    )


def too_many(message: str, wait: float, fix: str = "", headers: dict[str, str] | None = None, **extra: Any) -> ApiError:
    """429, with when to come again."""
    seconds = max(1, math.ceil(wait))
    told = f"Wait {seconds} s (Retry-After), then go on. {fix}".strip()
    return ApiError(
        Code.RATE_LIMITED, message, fix=told, headers={**(headers or {}), "Retry-After": str(seconds)}, **extra
    )
