"""`kill -9` of whatever receives, files or answers, under load: what was acknowledged is there, byte for byte, and once."""

import smtplib
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from delivery.inbound.claim import LEASE
from tests.flows.conftest import until

pytestmark = [pytest.mark.flows, pytest.mark.timeout(150)]

MAILS = 400
SENDERS = 4
KILLS = ("smtp", "worker", "web", "smtp", "worker")
# What a killed worker held is taken again when its lease is over, or by the sweep after it.
VISIBLE_WITHIN = LEASE.total_seconds() + 10


def mail(number: int) -> bytes:
    return f"Subject: fault {number}\r\nMessage-ID: <{number}@faults.example>\r\n\r\n{'text ' * (number % 50)}\r\n".encode()


class Sender(threading.Thread):
    """A mail server that does its duty: it tries again until it has a 250, and remembers what has one."""

    def __init__(self, smtp: str, recipient: str, numbers: list[int]) -> None:
        super().__init__(daemon=True)
        self.host, port = smtp.split(":")
        self.port, self.recipient, self.numbers = int(port), recipient, numbers
        self.acknowledged: list[int] = []
        self.gives_up = threading.Event()

    def run(self) -> None:
        for number in self.numbers:
            while not self._accepted(number):
                if self.gives_up.wait(0.1):
                    return
            self.acknowledged.append(number)

    def _accepted(self, number: int) -> bool:
        try:
            with smtplib.SMTP(self.host, self.port, timeout=10) as smtp:
                smtp.sendmail("sender@faults.example", [self.recipient], mail(number))
                return True
        except (OSError, smtplib.SMTPException):
            return False


@pytest.fixture
def http(server: Any) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {server.api_key}"}
    with httpx.Client(base_url=f"{server.url}/v1", headers=headers, timeout=30) as client:
        yield client


def test_it_keeps_what_it_acknowledged_whatever_is_killed(server: Any, http: httpx.Client) -> None:
    inbox = http.post("/inboxes", json={}).json()["data"]
    senders = [Sender(server.smtp, inbox["address"], list(range(first, MAILS, SENDERS))) for first in range(SENDERS)]
    for sender in senders:
        sender.start()
    for number, name in enumerate(KILLS, start=1):
        until(partial(has_acknowledged, senders, number * MAILS // (len(KILLS) + 2)), "the load goes on")
        server.kill(name)
        server.start(name)
    until(partial(has_acknowledged, senders, MAILS), "every mail is acknowledged")
    until(lambda: len(messages(http, inbox)) >= MAILS, "every mail is visible", VISIBLE_WITHIN)
    found = messages(http, inbox)
    assert Counter(message["subject"] for message in found) == {f"fault {number}": 1 for number in range(MAILS)}
    for message in found:
        raw = http.get(f"/inboxes/{inbox['id']}/messages/{message['id']}/raw").content
        assert raw == mail(int(message["subject"].split()[1]))


def has_acknowledged(senders: list[Sender], number: int) -> bool:
    return sum(len(sender.acknowledged) for sender in senders) >= number


def messages(http: httpx.Client, inbox: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = http.get(f"/inboxes/{inbox['id']}/messages", params={"limit": 100, "cursor": cursor}).json()
        found += page["data"]
        cursor = page["meta"]["next_cursor"]
    return found
