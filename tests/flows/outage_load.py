"""Mail servers that do their duty while ours is in trouble: each tries its mail again until it has a 250, and keeps a ledger."""

import smtplib
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.flows.conftest import until
from tests.flows.load import messages

SENDERS = 4
PAUSE = 0.02  # seconds between two mails of a sender
LOOKS_EVERY = 0.5  # seconds: a look is a page or more of the API
PATIENCE = 60.0  # seconds for a reply: longer than any that a test accepts
NO_REPLY = 0


def text_of(number: int, size: int = 0) -> bytes:
    """Each of other content, and of `size` octets or a little more."""
    text = f"text {number} " * (number % 50 + size // 10)
    return f"Subject: outage {number}\r\nMessage-ID: <{number}@outages.example>\r\n\r\n{text}\r\n".encode()


@dataclass(frozen=True)
class Attempt:
    """`code` is the reply that decided, NO_REPLY without one; `took` is in seconds, from connecting to that reply."""

    number: int
    code: int
    took: float


class Load:
    """Mail from several senders at once, until the block is left; then every mail that was begun is acknowledged."""

    def __init__(self, smtp: str, recipient: str, size: int = 0) -> None:
        self._smtp, self._recipient, self.size = smtp, recipient, size
        self.ledger: list[Attempt] = []
        self._stops = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=[first], daemon=True) for first in range(SENDERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stops.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    @property
    def acknowledged(self) -> list[int]:
        return [attempt.number for attempt in list(self.ledger) if attempt.code == 250]

    def goes_on(self, mails: int = 40) -> list[Attempt]:
        """Wait until so many more are acknowledged; the attempts meanwhile."""
        begin, wanted = len(self.ledger), len(self.acknowledged) + mails
        until(lambda: len(self.acknowledged) >= wanted, f"{mails} more mails are acknowledged: {self.replies()}")
        return self.ledger[begin:]

    def fails_with(self, *codes: int) -> None:
        """Wait until a mail that is begun from now on is answered with one of `codes`."""
        begin = len(self.ledger)
        until(lambda: any(attempt.code in codes for attempt in self.ledger[begin:]), f"a reply of {codes}")

    def replies(self) -> Counter[int]:
        return Counter(attempt.code for attempt in list(self.ledger))

    def _send(self, number: int) -> None:
        while not self._stops.is_set():
            while self._attempt(number) != 250 and not self._gave_up():
                time.sleep(PAUSE)
            number += SENDERS
            self._stops.wait(PAUSE)

    def _gave_up(self) -> bool:
        return self._stops.is_set()

    def _attempt(self, number: int) -> int:
        began = time.monotonic()
        code = send(self._smtp, self._recipient, text_of(number, self.size))
        self.ledger.append(Attempt(number, code, time.monotonic() - began))
        return code


def send(smtp: str, recipient: str, text: bytes) -> int:
    """Send one mail to "host:port"; the reply that decided."""
    host, port = smtp.split(":")
    try:
        with smtplib.SMTP(host, int(port), timeout=PATIENCE) as client:
            client.sendmail("sender@outages.example", [recipient], text)
            return 250
    except smtplib.SMTPRecipientsRefused as error:
        return next(code for code, _ in error.recipients.values())
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
    except (OSError, smtplib.SMTPException):
        return NO_REPLY


def assert_all_there_once(http: httpx.Client, inbox: dict[str, Any], load: Load, within: float) -> None:
    """What was acknowledged becomes visible, once and byte for byte, and nothing that was never sent does. `within` so many seconds
    something more must be visible: how long all of it takes depends on how much it is."""
    sent, promised = {attempt.number for attempt in load.ledger}, set(load.acknowledged)
    _wait_until_visible(http, inbox, len(promised), within)
    filed = messages(http, inbox, direction="inbound")
    found = Counter(int(message["subject"].split()[1]) for message in filed)
    assert promised <= found.keys() <= sent
    assert set(found.values()) == {1}
    for message in filed:
        raw = http.get(f"/inboxes/{inbox['id']}/messages/{message['id']}/raw").content
        assert raw == text_of(int(message["subject"].split()[1]), load.size)


def _wait_until_visible(http: httpx.Client, inbox: dict[str, Any], wanted: int, within: float) -> None:
    seen, deadline = -1, 0.0
    while (found := len(messages(http, inbox, direction="inbound"))) < wanted:
        if found > seen:
            seen, deadline = found, time.monotonic() + within
        assert time.monotonic() < deadline, f"{seen} of {wanted} are visible, and no more for {within:.0f} s"
        time.sleep(LOOKS_EVERY)
