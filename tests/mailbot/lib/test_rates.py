"""Rates, counted in this process and in Redis: the same answers from both."""

import multiprocessing
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mailbot.lib import rates_redis
from mailbot.lib.rates import Count, ProcessCounter, Rate
from mailbot.lib.rates_redis import ANSWERS_WITHIN, RedisCounter

REDIS_URL = os.environ.get("REDIS_URL", "")
with_redis = pytest.mark.skipif(not REDIS_URL, reason="production profile only")
SLOW = Rate.of("50/hour")  # what comes back while the test runs is less than one
PATIENCE = 10.0  # seconds, with a Redis that is there


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def name() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis may be late on a busy machine, and this process would count by itself, from nothing."""
    monkeypatch.setattr(rates_redis, "ANSWERS_WITHIN", PATIENCE)


@pytest.fixture(params=["process", pytest.param("redis", marks=with_redis)])
def counter(patient: None, request: pytest.FixtureRequest) -> Any:
    return ProcessCounter() if request.param == "process" else RedisCounter(REDIS_URL)


def hits_that_fit(url: str, name: str, times: int) -> int:
    """In a process of its own, from four threads."""
    rates_redis.ANSWERS_WITHIN = PATIENCE
    counter = RedisCounter(url)
    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(lambda _: counter.hit([(name, SLOW)])[0].fits, range(times)))


class TestRate:
    def test_it_is_read_as_it_is_written(self) -> None:
        assert str(Rate.of(" 600/Minute ")) == "600/minute"

    @pytest.mark.parametrize("text", ["", "600", "0/minute", "-1/minute", "1/week", "9999999999/day", "2000000/second"])
    def test_it_refuses_what_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match="not a rate"):
            Rate.of(text)

    @pytest.mark.parametrize("text", ["7/second", "600/minute", "999983/minute", "1/day"])
    def test_all_of_it_fits_at_once_and_no_more(self, text: str) -> None:
        rate = Rate.of(text)
        assert rate.room // rate.spacing == rate.amount
        assert rate.room <= rate.seconds * 1_000_000


class TestCounter:
    def test_it_lets_so_many_through_and_says_what_is_left(self, counter: Any, name: str) -> None:
        counts = [counter.hit([(name, SLOW)])[0] for _ in range(52)]
        assert [count.fits for count in counts] == [True] * 50 + [False] * 2
        assert [counts[i].remaining for i in (0, 1, 49, 50)] == [49, 48, 0, 0]
        assert 60 < counts[-1].wait <= 72
        assert 3590 < counts[-1].full_after <= 3600

    def test_it_takes_of_all_or_of_none(self, counter: Any, name: str) -> None:
        one = Rate.of("1/hour")
        assert all(count.fits for count in counter.hit([(name, SLOW), (f"{name}:one", one)]))
        slow, refused = counter.hit([(name, SLOW), (f"{name}:one", one)])
        assert (slow.fits, slow.remaining, refused.fits) == (True, 49, False)
        assert counter.hit([(name, SLOW)])[0].remaining == 48

    def test_it_is_exact_for_threads(self, counter: Any, name: str) -> None:
        with ThreadPoolExecutor(8) as pool:
            counts: list[Count] = [*pool.map(lambda _: counter.hit([(name, SLOW)])[0], range(120))]
        assert sum(count.fits for count in counts) == 50
        assert sorted(count.remaining for count in counts if count.fits) == list(range(50))

    def test_it_knows_names_apart(self, counter: Any, name: str) -> None:
        for _ in range(50):
            counter.hit([(name, SLOW)])
        assert not counter.hit([(name, SLOW)])[0].fits
        assert counter.hit([(f"{name}:other", SLOW)])[0].fits


class TestProcessCounter:
    def test_it_gives_back_evenly(self, name: str) -> None:
        clock = Clock()
        counter, rate = ProcessCounter(clock), Rate.of("60/minute")

        def hit() -> Count:
            return counter.hit([(name, rate)])[0]

        assert [hit().fits for _ in range(61)].count(True) == 60
        clock.now += 0.99
        assert hit().wait == pytest.approx(0.01, abs=0.001)
        clock.now += 0.02
        assert hit().fits
        assert not hit().fits
        clock.now += 30
        assert [hit().fits for _ in range(60)].count(True) == 30
        clock.now += 1000
        assert [hit().fits for _ in range(61)].count(True) == 60

    def test_it_forgets_who_owes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ProcessCounter, "MOST_NAMES", 10)
        clock = Clock()
        counter = ProcessCounter(clock)
        for number in range(100):
            clock.now += 3600
            counter.hit([(str(number), SLOW)])
        assert len(counter._free_at) <= 12


@with_redis
@pytest.mark.usefixtures("patient")
class TestRedisCounter:
    def test_it_is_exact_for_processes(self, name: str) -> None:
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(3) as pool:
            through = pool.starmap(hits_that_fit, [(REDIS_URL, name, 40)] * 3)
        assert sum(through) == 50

    def test_it_takes_one_round_trip(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        counter = RedisCounter(REDIS_URL)
        counter.hit([(name, SLOW)])  # gives Redis the script, if it has not got it
        sent: list[str] = []
        send = counter._redis.execute_command

        def note(*given: Any) -> Any:
            sent.append(given[0])
            return send(*given)

        monkeypatch.setattr(counter._redis, "execute_command", note)
        counter.hit([(name, SLOW), (f"{name}:2", SLOW)])
        assert sent == ["EVALSHA"]

    def test_it_does_not_trust_a_clock_that_was_set_back(self, name: str) -> None:
        counter = RedisCounter(REDIS_URL)
        ahead = (time.time() + 86400 * 365) * 1_000_000
        counter._redis.set(f"mailbot:rate:{name}", f"{ahead:.0f}", px=60_000)
        count = counter.hit([(name, SLOW)])[0]
        assert not count.fits
        assert count.wait <= 72

    def test_it_forgets_who_owes_nothing(self, name: str) -> None:
        counter = RedisCounter(REDIS_URL)
        counter.hit([(name, Rate.of("50/second"))])
        left: Any = counter._redis.pttl(f"mailbot:rate:{name}")
        assert 0 <= left <= 20 or left == -2


class TestWithoutRedis:
    @pytest.fixture
    def silent_redis(self) -> Iterator[tuple[str, Callable[[], int]]]:
        """One that takes connections and never answers, and how many it has been asked by."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(0.01)
            taken: list[socket.socket] = []

            def connections() -> int:
                try:
                    while True:
                        taken.append(listener.accept()[0])
                except TimeoutError:
                    return len(taken)

            yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0", connections
            for connection in taken:
                connection.close()

    def test_each_process_counts_by_itself(
        self, silent_redis: tuple[str, Callable[[], int]], name: str, caplog: Any
    ) -> None:
        url, connections = silent_redis
        counter = RedisCounter(url)
        began = time.monotonic()
        fitted = [counter.hit([(name, SLOW)])[0].fits for _ in range(60)]
        assert fitted.count(True) == 50
        assert (
            time.monotonic() - began < 30 * ANSWERS_WITHIN
        )  # one of the calls waited, once; each for itself would be 60 times
        assert connections() <= 2
        assert caplog.text.count("by this process alone") == 1

    def test_one_caller_looks_whether_it_is_back(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        counter = RedisCounter("redis://127.0.0.1:1/0")
        asked: list[int] = []

        def owed(wanted: Any) -> list[int]:
            asked.append(1)
            return [0]

        monkeypatch.setattr(counter, "_owed", owed)
        counter._ask_at = time.monotonic() + 1000
        counter.hit([(name, SLOW)])
        assert not asked
        counter._ask_at = time.monotonic() - 1
        assert not counter._is_away()
        assert counter._is_away()
        counter._ask_at = time.monotonic() - 1
        counter.hit([(name, SLOW)])
        assert (len(asked), counter._ask_at) == (1, 0.0)
