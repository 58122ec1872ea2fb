"""Which test runs when, and in which process: those with servers of their own, which mostly wait, come first and beside each other; the
others, which only compute, fill what is left. A process that has nothing left takes tests from the end of another one's.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

import pytest

# About so many seconds each of these files waits and works; one that is not named, SOME.
SECONDS = {
    "test_ledger.py": 270,
    "test_database_logins.py": 130,
    "test_kills.py": 120,
    "test_export_kills.py": 100,
    "test_restore.py": 70,
    "test_make_run.py": 90,
    "test_idempotency.py": 80,
    "test_outages_redis.py": 80,
    "test_outages_postgresql.py": 60,
    "test_schema.py": 50,
    "test_raw_mover.py": 50,
    "test_outages_disk.py": 40,
    "test_hostile.py": 40,
    "test_clocks.py": 40,
    "test_operations.py": 30,
}
SOME = 15
Items = list[pytest.Item]


def deal(items: Items) -> Items:
    """In another order: as many equal parts, one behind the other, as there are processes, each of which begins with a fair share of what
    waits. pytest-xdist gives each process the next part (`--dist worksteal`)."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    hands = _with_flows([item for item in items if _waits(item)], processes)
    rest = iter([item for item in items if not _waits(item)])
    return [
        item
        for hand, size in zip(hands, _sizes(len(items), processes), strict=True)
        for item in _filled(hand, rest, size)
    ]


def _waits(item: pytest.Item) -> bool:
    return item.get_closest_marker("flows") is not None


def _with_flows(items: Items, processes: int) -> list[Items]:
    """File by file, because what they start is shared inside a file; the longest first, and each to who has the least."""
    files: dict[str, Items] = defaultdict(list)
    for item in items:
        files[item.path.name].append(item)
    hands: list[Items] = [[] for _ in range(processes)]
    seconds = [0] * processes
    for name in sorted(files, key=lambda name: (-SECONDS.get(name, SOME), name)):
        least = seconds.index(min(seconds))
        hands[least] += files[name]
        seconds[least] += SECONDS.get(name, SOME)
    return hands


def _sizes(number: int, processes: int) -> Iterator[int]:
    """As pytest-xdist parts them."""
    for left in range(processes, 0, -1):
        yield number // left
        number -= number // left


def _filled(hand: Items, rest: Iterator[pytest.Item], size: int) -> Items:
    return [*hand, *islice(rest, max(0, size - len(hand)))]
