"""PostgreSQL restarted at once, away for a while and held still, under load: clients hear 451, and all comes back by itself."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx
import pytest

from tests.flows.conftest import until
from tests.flows.outage_load import NO_REPLY, Load, assert_all_there_once
from tests.flows.private_servers import OutageServer, PrivatePostgres, private_postgres, production_only

pytestmark = [
    pytest.mark.flows,
    pytest.mark.timeout(150),
    pytest.mark.usefixtures("nothing_ends"),
    production_only,
]

ANSWERED_WITHIN = 8.0  # seconds: SMTPLimits.database_timeout and what two busy cores take
BACK_WITHIN = 10.0  # seconds from PostgreSQL's return to the first mail accepted and the first request answered
READY_SAYS_WITHIN = 5.0  # seconds
LEASE = 10  # seconds: what a worker held when PostgreSQL went is taken again when its lease is over
VISIBLE_WITHIN = LEASE + 15.0  # the sweep, and two busy cores
CONNECTIONS = 10  # of the web process's pool
QUEUED = 16 * 1024 * 1024  # octets of mail that smtp may hold
SIZE = 4 * 1024 * 1024  # octets of one mail: few clients, because what each connection reads ahead comes on top
LARGE_SAYS_WITHIN = 90.0  # seconds for a reply: such mail has a minute to be stored
LINE = b"as long as lines of a mail mostly are, and many of them\r\n"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    with private_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, own_redis: dict[str, str], postgres: PrivatePostgres
) -> Iterator[OutageServer]:
    limits = {
        "MAILBOT_SMTP_MAX_QUEUED_OCTETS": str(QUEUED),
        "MAILBOT_INBOUND_LEASE": str(LEASE),
        "MAILBOT_RAW_TO_STORE_ABOVE": str(2 * SIZE),
    }
    environment = {**own_redis, "DATABASE_URL": postgres.url, **limits}
    server = OutageServer(tmp_path_factory.mktemp("var"), environment)
    try:
        server.begin()
        yield server
    finally:
        server.end()


def test_it_comes_through_an_immediate_restart(
    server: OutageServer, http: httpx.Client, inbox: Any, postgres: PrivatePostgres
) -> None:
    with Load(server.smtp, inbox["address"]) as load:
        load.goes_on()
        for _ in range(2):
            postgres.stop()
            load.fails_with(451)
            postgres.start()
            load.goes_on()
    assert load.replies().keys() == {250, 451}
    until(partial(answers_again, http), "requests are answered", BACK_WITHIN)
    assert_all_there_once(http, inbox, load, VISIBLE_WITHIN)


def test_it_is_back_soon_after_a_long_absence(
    server: OutageServer, http: httpx.Client, inbox: Any, postgres: PrivatePostgres
) -> None:
    with Load(server.smtp, inbox["address"]) as load:
        postgres.stop()
        for _ in range(4):  # so long that the pool's own pause between two tries would be longer than BACK_WITHIN
            load.fails_with(451)
            assert http.get("/inboxes").status_code == 503
        postgres.start()
        until(partial(answers_again, http), "requests are answered", BACK_WITHIN)
        until(partial(has_taken, load, len(load.acknowledged)), "mail is taken", BACK_WITHIN)
    assert max(attempt.took for attempt in load.ledger) < ANSWERED_WITHIN
    assert_all_there_once(http, inbox, load, VISIBLE_WITHIN)


def test_it_says_451_while_postgresql_hangs(
    server: OutageServer, http: httpx.Client, inbox: Any, postgres: PrivatePostgres
) -> None:
    with Load(server.smtp, inbox["address"]) as load:
        load.goes_on()
        with postgres.held_still():
            load.fails_with(451)
        load.goes_on()
    assert NO_REPLY not in load.replies()
    assert max(attempt.took for attempt in load.ledger) < ANSWERED_WITHIN
    assert_all_there_once(http, inbox, load, VISIBLE_WITHIN)


def test_it_holds_a_bounded_number_of_octets_while_postgresql_hangs(
    server: OutageServer, inbox: Any, postgres: PrivatePostgres
) -> None:
    before = server.memory("smtp")
    server.forget_peak("smtp")
    with ExitStack() as stack:
        opened = (server.in_data(inbox["address"], LARGE_SAYS_WITHIN) for _ in range(6 * QUEUED // SIZE))
        clients = [stack.enter_context(client) for client in opened]
        with postgres.held_still():
            for words in (
                b"Subject: large\r\n\r\n" + LINE * (SIZE // len(LINE)),
                b"\r\n.\r\n",
            ):  # none ends before all are in
                for client in clients:
                    client.send(words)
            # Some wait too long, there is no room for others.
            assert {client.getreply()[0] for client in clients} == {451, 452}
    # Without the bound it is twelve times as much. What is stored just then is there once more for its connection.
    assert server.peak("smtp") - before < 4 * QUEUED


def test_it_says_within_seconds_that_it_is_not_ready_while_postgresql_hangs(
    server: OutageServer, postgres: PrivatePostgres
) -> None:
    with postgres.held_still():
        for _ in range(2):
            began = time.monotonic()
            answer = httpx.get(f"{server.url}/readyz", timeout=30, verify=False)
            assert time.monotonic() - began < READY_SAYS_WITHIN
            assert answer.status_code == 503
            assert answer.json()["parts"]["database"]["status"] == "missing"
    until(lambda: is_ready(server), "it is ready again", BACK_WITHIN)


def is_ready(server: OutageServer) -> bool:
    return httpx.get(f"{server.url}/readyz", params={"without": "workers"}, verify=False).status_code == 200


def answers_again(http: httpx.Client) -> bool:
    """A pool finds out by using them which of its connections are dead: each costs one request a 503."""
    return all(http.get("/inboxes").status_code == 200 for _ in range(CONNECTIONS))


def has_taken(load: Load, before: int) -> bool:
    return len(load.acknowledged) > before
