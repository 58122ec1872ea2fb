"""Clocks that are set by an hour while mail flows: nothing is lost or comes twice, the order holds, and nothing waits for the hour."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.conftest import BUSY, LEASE, Server, until
from tests.flows.load import Load, load

pytestmark = [pytest.mark.flows, pytest.mark.timeout(180)]

SOON = LEASE + 10 + BUSY  # seconds
HOUR = 3600


@pytest.fixture
def flowing(fragile_server: Server, tmp_path: Path) -> Iterator[Load]:
    with load(fragile_server, tmp_path / "ledger") as flowing:
        yield flowing
    fragile_server.set_clocks(0)


def test_it_goes_on_when_every_clock_is_set(fragile_server: Server, flowing: Load) -> None:
    for seconds in (HOUR, 0, -HOUR, 0):
        flowing.wait_for_more()
        fragile_server.set_clocks(seconds)
        flowing.wait_until_visible(SOON)
    flowing.stop()
    flowing.hold(SOON)


@pytest.mark.parametrize("name", ["smtp", "worker"])
def test_it_goes_on_when_one_clock_is_wrong(fragile_server: Server, flowing: Load, name: str) -> None:
    for seconds in (HOUR, -HOUR):
        fragile_server.set_clocks(seconds, name)
        flowing.wait_for_more()
        flowing.wait_until_visible(SOON)
    flowing.stop()
    flowing.hold(SOON)


def test_it_takes_over_what_a_worker_held_whose_clock_was_set_back(
    fragile_server: Server, flowing: Load, tmp_path: Path
) -> None:
    """The time at which its lease is over is an hour away then."""
    mark = tmp_path / "struck"
    flowing.wait_for_more()
    fragile_server.kill("worker")
    fragile_server.spawn("worker", MAILBOT_FAILPOINTS=f"inbound.filed=kill-group,once={mark}")
    until(lambda: mark.exists() and not fragile_server.is_running("worker"), "the worker is dead")
    fragile_server.set_clocks(-HOUR)
    fragile_server.start("worker")
    flowing.wait_until_visible(SOON)
    flowing.stop()
    flowing.hold(SOON)
