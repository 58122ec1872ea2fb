"""Rates: so much in such a time, for any name, held against many callers at once.

The method is GCRA (ITU-T I.371, annex A): of a name one number is kept, the time from which on it owes nothing. Each hit puts that time
one spacing further ahead; it may not be further ahead than the rate's whole time. So all of a rate may be used at once, and it comes back
evenly. What is kept does not grow with the rate, and no window has an edge at which twice as much goes through.
"""

import math
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
MICROSECONDS = 1_000_000
_WRITTEN = re.compile(r"(?P<amount>[0-9]{1,9})/(?P<unit>second|minute|hour|day)")


@dataclass(frozen=True, slots=True)
class Rate:
    """`amount` in a `unit` of UNITS. Inside, times are whole microseconds, so that nothing is lost by adding them up."""

    amount: int
    unit: str

    @classmethod
    def of(cls, text: str) -> "Rate":
        """`600/minute`. Raises ValueError."""
        match = _WRITTEN.fullmatch(text.strip().lower())
        if match is None or not 0 < int(match["amount"]) <= UNITS[match["unit"]] * MICROSECONDS:
            raise ValueError(f"“{text}” is not a rate such as 600/minute.")
        return cls(int(match["amount"]), match["unit"])

    def __str__(self) -> str:
        return f"{self.amount}/{self.unit}"

    @property
    def seconds(self) -> int:
        return UNITS[self.unit]

    @property
    def spacing(self) -> int:
        """How far a hit puts the time ahead. Rounded down: all of the amount must fit."""
        return self.seconds * MICROSECONDS // self.amount

    @property
    def room(self) -> int:
        """How far ahead it may be."""
        return self.spacing * self.amount


@dataclass(frozen=True, slots=True)
class Count:
    """What a rate has left after a hit. `wait` is 0 when it fitted, else the seconds until it does; `full_after` is in seconds until
    all of the rate is there again."""

    rate: Rate
    remaining: int
    wait: float
    full_after: float

    @property
    def fits(self) -> bool:
        return not self.wait

    @property
    def next_in(self) -> float:
        """Seconds from now until another hit fits."""
        return max(0.0, self.full_after - (self.rate.room - self.rate.spacing) / MICROSECONDS)


Wanted = Sequence[tuple[str, Rate]]


class Counter(Protocol):
    def hit(self, wanted: Wanted) -> list[Count]:
        """Take one of each (name, rate), or none of any where one of them has none left: then that one's count does not fit."""


def counts_of(wanted: Wanted, owed: Sequence[int]) -> list[Count]:
    """What a hit means, by how many microseconds each name owed before it."""
    taken = all(fits(rate, debt) for (_, rate), debt in zip(wanted, owed, strict=True))
    return [_count(rate, debt, taken) for (_, rate), debt in zip(wanted, owed, strict=True)]


def fits(rate: Rate, owed: int) -> bool:
    return owed + rate.spacing <= rate.room


def _count(rate: Rate, owed: int, taken: bool) -> Count:
    after = owed + rate.spacing if taken else owed
    wait = max(0, owed + rate.spacing - rate.room)
    return Count(rate, max(0, rate.room - after) // rate.spacing, wait / MICROSECONDS, after / MICROSECONDS)


class ProcessCounter:
    """Counts in this process alone, for all its threads."""

    MOST_NAMES = 10_000  # then those that owe nothing are forgotten, at most once for as many hits

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._free_at: dict[str, int] = {}
        self._lock = threading.Lock()
        self._forget_at = self.MOST_NAMES

    def hit(self, wanted: Wanted) -> list[Count]:
        with self._lock:
            now = math.floor(self._clock() * MICROSECONDS)
            owed = [max(0, self._free_at.get(name, 0) - now) for name, _ in wanted]
            if all(fits(rate, debt) for (_, rate), debt in zip(wanted, owed, strict=True)):
                self._free_at |= {n: now + d + rate.spacing for (n, rate), d in zip(wanted, owed, strict=True)}
                self._forget(now)
        return counts_of(wanted, owed)

    def _forget(self, now: int) -> None:
        if len(self._free_at) > self._forget_at:
            self._free_at = {name: free_at for name, free_at in self._free_at.items() if free_at > now}
            self._forget_at = len(self._free_at) + self.MOST_NAMES
