"""A disk that is full under load: 452 and never 250, an honest answer to requests, and recovery as soon as there is room.

The embedded profile has its whole folder on the small disk, the production profile a tablespace. Where no file system can be mounted,
tests/delivery/inbound/test_full_disk.py still shows what a full database means to a mail and to a request.
"""

from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from tests.flows.conftest import until
from tests.flows.outage_load import Load, assert_all_there_once
from tests.flows.private_servers import OutageServer, SmallDisk, is_production, private_postgres, small_disk

pytestmark = [pytest.mark.flows, pytest.mark.timeout(150), pytest.mark.usefixtures("nothing_ends")]

BACK_WITHIN = 5.0  # seconds
LEASE = 10  # seconds: a worker that could not even write that it gives up its lanes holds them so long
VISIBLE_WITHIN = LEASE + 15.0  # the sweep, and two busy cores


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    with small_disk(megabytes=64) as disk:
        yield disk


@pytest.fixture(scope="module")
def environment(disk: SmallDisk, own_redis: dict[str, str]) -> Iterator[dict[str, str]]:
    """Of a mailbot whose database is on the small disk."""
    if not is_production:
        yield {"DATABASE_URL": "", "REDIS_URL": ""}
        return
    with private_postgres() as postgres:
        disk.keep(postgres)
        yield {**own_redis, "DATABASE_URL": postgres.url}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, disk: SmallDisk, environment: dict[str, str]
) -> Iterator[OutageServer]:
    var = tmp_path_factory.mktemp("var") if is_production else disk.folder / "var"
    var.mkdir(exist_ok=True)
    server = OutageServer(var, {**environment, "MAILBOT_INBOUND_LEASE": str(LEASE)})
    try:
        server.begin()
        yield server
    finally:
        server.end()


def test_it_promises_nothing_that_has_no_room_and_goes_on_when_there_is_some(
    server: OutageServer, http: httpx.Client, disk: SmallDisk
) -> None:
    inbox = http.post("/inboxes", json={}).json()["data"]
    with Load(server.smtp, inbox["address"], size=5_000) as load:
        load.goes_on()
        disk.fill()
        load.fails_with(452)
        until(partial(is_refused, http), "a request hears that the disk is full")
        assert http.get("/inboxes").status_code == 200
        disk.make_room()
        until(lambda: http.post("/inboxes", json={}).status_code == 201, "requests are served", BACK_WITHIN)
        load.goes_on()
    assert load.replies().keys() <= {250, 451, 452}
    assert_all_there_once(http, inbox, load, VISIBLE_WITHIN)


def is_refused(http: httpx.Client) -> bool:
    """What fits into pages that are there already still goes through: ask until none is left."""
    answer = http.post("/inboxes", json={"metadata": {"filler": "x" * 4_000}})
    if answer.status_code == 201:
        return False
    assert answer.status_code == 503
    assert "disk is full" in answer.json()["error"]["message"]
    return True
