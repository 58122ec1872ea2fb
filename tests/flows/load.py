"""Mail that flows while a test breaks something, and what must hold of it afterwards."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import httpx

from tests.flows.conftest import ROOT, until
from tests.flows.sender import mail

INBOXES = 4
PAUSE = 0.2  # seconds between two looks
MAILS_AT_ONCE = 4  # raw mails that are fetched at a time


class Mailbot(Protocol):
    @property
    def smtp(self) -> str:
        """host:port"""

    def http(self) -> httpx.Client:
        """A client of the API, signed in."""


@dataclass
class Account:
    """What a ledger says of one address: the parent of each mail by its number, and which were answered with 250."""

    parents: dict[int, int | None] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)


class Load:
    """The sender's process and the inboxes it sends to."""

    def __init__(self, server: Mailbot, ledger: Path, pause: float) -> None:
        self.server, self.ledger = server, ledger
        with server.http() as http:
            self.inboxes = [http.post("/inboxes", json={}).json()["data"] for _ in range(INBOXES)]
        addresses = [inbox["address"] for inbox in self.inboxes]
        self.ledger.touch()
        command = [sys.executable, "-m", "tests.flows.sender", server.smtp, str(ledger), str(pause), *addresses]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)

    def accounts(self) -> list[Account]:
        accounts = [Account() for _ in self.inboxes]
        for line in self.ledger.read_text().splitlines():
            what, lane, number, parent = line.split(" ")
            accounts[int(lane)].parents[int(number)] = int(parent) if parent else None
            if what == "acknowledged":
                accounts[int(lane)].acknowledged.add(int(number))
        return accounts

    def acknowledged(self) -> int:
        return sum(len(account.acknowledged) for account in self.accounts())

    def wait_for_more(self, mails: int = 20) -> None:
        """Until so many more have a 250."""
        enough = self.acknowledged() + mails
        until(lambda: self.acknowledged() >= enough, f"{mails} more mails are acknowledged")

    def stop(self) -> None:
        """Let it deliver what it has begun with."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(60)

    def wait_until_visible(self, seconds: float) -> None:
        """Everything that has a 250 by now becomes a message within so many seconds."""
        deadline = time.monotonic() + seconds
        with self.server.http() as http:
            for inbox, account in zip(self.inboxes, self.accounts(), strict=True):
                while missing := account.acknowledged - numbers(http, inbox):
                    left = f"{len(missing)} with a 250 are not visible in {inbox['id']}, such as {sorted(missing)[:9]}"
                    assert time.monotonic() < deadline, f"Not within {seconds:.0f} s: {left}"
                    time.sleep(PAUSE)

    def hold(self, seconds: float) -> None:
        """Everything acknowledged is visible within so many seconds: byte for byte, once, and in order. And nothing else is there."""
        self.wait_until_visible(seconds)
        with self.server.http() as http:
            for lane, (inbox, account) in enumerate(zip(self.inboxes, self.accounts(), strict=True)):
                self._check(http, lane, inbox, account)

    def _check(self, http: httpx.Client, lane: int, inbox: dict[str, Any], account: Account) -> None:
        found = messages(http, inbox)[::-1]
        order = [number_of(message) for message in found]
        assert [number for number, times in Counter(order).items() if times > 1] == [], "filed twice"
        assert account.acknowledged <= set(order) <= account.parents.keys()
        threads = {number_of(message): message["thread_id"] for message in found}
        filed = [n for n in order if n in account.acknowledged]
        overtaken = [later for former, later in pairwise(filed) if later < former]
        assert not overtaken, f"out of order in {inbox['id']}: {overtaken} came behind what was sent after"
        for number in order:
            if (parent := account.parents[number]) is not None:
                assert threads[number] == threads[parent], f"{number} does not follow {parent}"
        with ThreadPoolExecutor(MAILS_AT_ONCE) as pool:
            raws = list(pool.map(lambda message: raw_of(http, inbox, message), found))
        assert raws == [mail(lane, number, account.parents[number]) for number in order]


def raw_of(http: httpx.Client, inbox: dict[str, Any], message: dict[str, Any]) -> bytes:
    return http.get(f"/inboxes/{inbox['id']}/messages/{message['id']}/raw").content


def number_of(message: dict[str, Any]) -> int:
    return int(message["subject"].split()[1])


def numbers(http: httpx.Client, inbox: dict[str, Any]) -> set[int]:
    return {number_of(message) for message in messages(http, inbox)}


def messages(http: httpx.Client, inbox: dict[str, Any], **filters: str) -> list[dict[str, Any]]:
    """All of an inbox that the filters let through, newest first, page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = http.get(f"/inboxes/{inbox['id']}/messages", params={"limit": 100, "cursor": cursor, **filters}).json()
        found += page["data"]
        cursor = page["meta"]["next_cursor"]
    return found


@contextmanager
def load(server: Mailbot, ledger: Path, pause: float = 0.25) -> Iterator[Load]:
    """Mail flows, with so many seconds between two mails to one inbox; it has stopped at the end in any case."""
    flowing = Load(server, ledger, pause)
    try:
        yield flowing
    finally:
        with flowing.process:
            flowing.process.kill()
