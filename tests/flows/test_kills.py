"""`kill -9` of whatever receives, files or answers, under load: what was acknowledged is there, byte for byte, once, and soon."""

import os
import random
import re
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.conftest import BUSY, LEASE, Server, until
from tests.flows.load import Load, load, messages, raw_of

# On PostgreSQL and Redis test_ledger.py kills the same, and more.
pytestmark = [pytest.mark.one_profile, pytest.mark.flows, pytest.mark.timeout(180)]

VISIBLE_WITHIN = (
    LEASE + 10 + BUSY
)  # seconds: what a killed worker held is taken again when its lease is over, by the next sweep
GOES_WITHIN = 10.0  # seconds from its last mail to its end
KILLED = [("smtp",), ("worker",), ("web",), ("web", "smtp", "worker", "beat")]


@pytest.fixture
def flowing(fragile_server: Server, tmp_path: Path) -> Iterator[Load]:
    with load(fragile_server, tmp_path / "ledger") as flowing:
        yield flowing


class TestFailpoints:
    @pytest.mark.parametrize(
        ("process", "points"),
        [
            ("smtp", ["intake.before-commit", "intake.committed"]),
            ("worker", ["inbound.claimed", "inbound.filed", "wakeup.before"]),
        ],
    )
    def test_it_keeps_what_it_acknowledged(
        self, fragile_server: Server, flowing: Load, tmp_path: Path, process: str, points: list[str]
    ) -> None:
        flowing.wait_for_more(10)
        fragile_server.kill(process)
        for point in points:
            mark = tmp_path / point
            fragile_server.spawn(process, MAILBOT_FAILPOINTS=f"{point}=kill-group,nth=2,once={mark}")
            until(lambda m=mark: m.exists(), f"{process} comes to {point}")  # type: ignore[misc]
            until(lambda: not fragile_server.is_running(process), f"{process} is dead")
        fragile_server.start(process)
        flowing.stop()
        flowing.hold(VISIBLE_WITHIN)


class TestRandomKills:
    def test_it_keeps_what_it_acknowledged(self, fragile_server: Server, flowing: Load) -> None:
        kill_at_random(fragile_server, flowing, rounds=2)

    @pytest.mark.soak
    @pytest.mark.timeout(1800)
    def test_it_keeps_what_it_acknowledged_for_long(self, fragile_server: Server, flowing: Load) -> None:
        kill_at_random(fragile_server, flowing, rounds=40)


def kill_at_random(server: Server, flowing: Load, rounds: int) -> None:
    """So many of KILLED. The seed is shown when the test fails; MAILBOT_SEED sets it."""
    seed = int(os.environ.get("MAILBOT_SEED", random.randrange(1_000_000)))
    print(f"MAILBOT_SEED={seed}")
    chance = random.Random(seed)
    victims = KILLED * (rounds // len(KILLED) + 1)
    chance.shuffle(victims)
    for names in victims[:rounds]:
        flowing.wait_for_more(chance.randint(1, 20))
        server.kill(*names)
        server.start(*names)
    flowing.stop()
    flowing.hold(VISIBLE_WITHIN)


class TestStop:
    def test_it_finishes_what_is_in_data_and_goes(self, fragile_server: Server, flowing: Load) -> None:
        """SIGTERM of the smtp process, under load and in the middle of a mail."""
        server = fragile_server
        with server.http() as http:
            inbox = http.post("/inboxes", json={}).json()["data"]
            with server.in_data(inbox["address"]) as client:
                client.send(b"Subject: begun before\r\n\r\nfirst")
                flowing.wait_for_more()
                os.kill(server.pid("smtp"), signal.SIGTERM)
                until(lambda: not server.lets_in(), "nobody else is let in")
                client.send(b" and last\r\n.\r\n")
                assert [client.getreply()[0] for _ in range(2)] == [250, 421]
            until(lambda: not server.is_running("smtp"), "it has gone", GOES_WITHIN)
            assert server.ended() == {"smtp": 0}
            server.start("smtp")
            flowing.wait_for_more()
            flowing.stop()
            flowing.hold(VISIBLE_WITHIN)
            assert [raw_of(http, inbox, message) for message in messages(http, inbox)] == [
                b"Subject: begun before\r\n\r\nfirst and last\r\n"
            ]


class TestOrder:
    def test_it_finds_the_parent_of_each_reply_with_two_workers(self, fragile_server: Server, tmp_path: Path) -> None:
        fragile_server.start("worker:2")
        with load(fragile_server, tmp_path / "ledger", pause=0.01) as flowing:
            flowing.wait_for_more(200)
            fragile_server.kill("worker")
            fragile_server.start("worker")
            flowing.stop()
            flowing.hold(VISIBLE_WITHIN)


class TestPoison:
    """A mail that ends every process which reads it."""

    def test_it_holds_up_nobody_and_is_kept_for_the_operator(self, fragile_server: Server, flowing: Load) -> None:
        server = fragile_server
        flowing.wait_for_more(4)
        server.kill("worker")
        server.start("worker", MAILBOT_FAILPOINTS="inbound.reading=kill,content=POISONOUS")
        with server.http() as http, console(server) as browser:
            first, second = (http.post("/inboxes", json={}).json()["data"] for _ in range(2))
            for subject in ("before", "POISONOUS", "behind", "POISONOUS too", "last"):
                server.deliver(first["address"], f"Subject: {subject}\r\n\r\nText\r\n")
            server.deliver(second["address"], "Subject: elsewhere\r\n\r\nText\r\n")
            harmless = {"before", "behind", "last", "elsewhere"}
            # Each of the two costs a lease.
            until(
                lambda: subjects(http, first, second) == harmless,
                "what lies behind it is visible",
                VISIBLE_WITHIN + LEASE,
            )
            flowing.stop()
            flowing.hold(VISIBLE_WITHIN)
            until(lambda: len(failed(browser)) == 2, "it has failed")
            server.kill("worker")
            server.start("worker")
            try_again(browser, failed(browser))
            until(lambda: len(messages(http, first)) == 5, "the operator had it tried again")
            assert failed(browser) == []


def subjects(http: httpx.Client, *inboxes: dict[str, Any]) -> set[str]:
    return {message["subject"] for inbox in inboxes for message in messages(http, inbox)}


@contextmanager
def console(server: Server) -> Iterator[httpx.Client]:
    """Signed in as somebody who may do everything."""
    name, password = f"operator-{secrets.token_hex(4)}", secrets.token_urlsafe()
    server.manage("createsuperuser", "--noinput", "--username", name, "--email", "", DJANGO_SUPERUSER_PASSWORD=password)
    with httpx.Client(base_url=server.url, follow_redirects=True, timeout=30, verify=False) as browser:
        browser.get("/admin/login/")
        post(browser, "/admin/login/", username=name, password=password, next="/admin/")
        yield browser


def post(browser: httpx.Client, path: str, **form: Any) -> None:
    answer = browser.post(path, data={"csrfmiddlewaretoken": browser.cookies["csrftoken"], **form})
    assert answer.status_code == 200
    assert "/login/" not in str(answer.url)


def failed(browser: httpx.Client) -> list[str]:
    """Ids in the console's list of mail that could not be processed."""
    page = browser.get("/admin/delivery/inboundmail/", params={"state": "failed"})
    return re.findall(r'name="_selected_action" value="(inmail_\w+)"', page.text)


def try_again(browser: httpx.Client, mails: list[str]) -> None:
    post(
        browser, "/admin/delivery/inboundmail/?state=failed", action="try_again", _selected_action=mails, confirmed="1"
    )
