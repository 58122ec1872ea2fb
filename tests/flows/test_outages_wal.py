"""The disk of PostgreSQL's log (pg_wal) is full under load: PostgreSQL stops in the middle of a commit and cannot even recover.

Clients hear 451 or 452, never a 250 for what is lost. Once there is room, and PostgreSQL was started again as a service manager does
it, all comes back by itself.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from tests.flows.conftest import until
from tests.flows.outage_load import Load, assert_all_there_once
from tests.flows.private_servers import (
    OutageServer,
    PrivatePostgres,
    SmallDisk,
    private_postgres,
    production_only,
    small_disk,
)

pytestmark = [
    pytest.mark.flows,
    pytest.mark.timeout(150),
    pytest.mark.usefixtures("nothing_ends"),
    production_only,
]

BACK_WITHIN = 10.0  # seconds from PostgreSQL's return until a request that writes is served
LEASE = 10  # seconds: a worker that could not even write that it gives up its lanes holds them so long
VISIBLE_WITHIN = LEASE + 15.0  # the sweep, and two busy cores


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    with small_disk(megabytes=64) as disk:
        yield disk


@pytest.fixture(scope="module")
def postgres(disk: SmallDisk) -> Iterator[PrivatePostgres]:
    with private_postgres(wal=disk.folder_for_postgres("wal")) as server:
        yield server


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, own_redis: dict[str, str], postgres: PrivatePostgres
) -> Iterator[OutageServer]:
    environment = {**own_redis, "DATABASE_URL": postgres.url, "MAILBOT_INBOUND_LEASE": str(LEASE)}
    server = OutageServer(tmp_path_factory.mktemp("var"), environment)
    try:
        server.begin()
        yield server
    finally:
        server.end()


def test_it_promises_nothing_that_the_log_has_no_room_for_and_comes_back(
    server: OutageServer, http: httpx.Client, inbox: Any, postgres: PrivatePostgres, disk: SmallDisk
) -> None:
    with Load(server.smtp, inbox["address"], size=5_000) as load:
        load.goes_on()
        disk.fill()
        load.fails_with(451, 452)
        until(lambda: postgres.has_said("PANIC"), "PostgreSQL stops in the middle of it")
        load.fails_with(451)
        assert http.post("/inboxes", json={}).status_code == 503
        disk.make_room()
        postgres.look_after()
        until(partial(serves, http), "requests are served", BACK_WITHIN)
        load.goes_on()
    assert load.replies().keys() <= {250, 451, 452}
    assert_all_there_once(http, inbox, load, VISIBLE_WITHIN)


def serves(http: httpx.Client) -> bool:
    return http.post("/inboxes", json={}).status_code == 201
