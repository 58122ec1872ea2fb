"""Bad clients and bad mail: others are served meanwhile, and memory stays within bounds."""

import base64
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import httpx
import pytest

from tests.flows.conftest import until
from tests.flows.load import messages
from tests.flows.outage_load import send
from tests.flows.private_servers import children_of, resident_of

pytestmark = [pytest.mark.one_profile, pytest.mark.flows, pytest.mark.timeout(150)]

SOON = 15.0  # seconds: in which others are served; benchmarks/hostile.py measures how soon
LET_IN_WITHIN = 30.0  # seconds; who has been silent for 10 makes room
HANDLED_WITHIN = 60.0  # seconds until the bad mail itself is a message
MEBIBYTE = 1024 * 1024
# What a worker and an smtp process may hold after bad mail; a mail of 30 MiB is there several times over while it is read.
MEMORY = 700 * MEBIBYTE
GROWTH = 120 * MEBIBYTE  # from the first of equal bad mails to the last
IDLE = 500
HEAD = b"From: bad@example.com\r\nSubject: bad\r\nMIME-Version: 1.0\r\n"
GREETED = b"EHLO bad.example\r\n"
STALLED_IN_A_COMMAND = GREETED + b"MAIL FR"
STALLED_IN_DATA = GREETED + b"MAIL FROM:<>\r\nRCPT TO:<RECIPIENT>\r\nDATA\r\nSubject: never\r\n\r\nThis is"


@pytest.fixture
def bad_inbox(http: httpx.Client) -> Any:
    return http.post("/inboxes", json={}).json()["data"]


@contextmanager
def connections(smtp: str, count: int, words: bytes) -> Iterator[None]:
    """So many that have said `words` and then say nothing."""
    host, port = smtp.split(":")
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            connection.recv(1024)  # the greeting
            connection.sendall(words)
        yield


class TestClients:
    @pytest.mark.parametrize("words", [STALLED_IN_A_COMMAND, STALLED_IN_DATA], ids=["command", "DATA"])
    def test_it_serves_others_while_clients_stall(
        self, server: Any, http: httpx.Client, inbox: Any, words: bytes
    ) -> None:
        with connections(server.smtp, 50, words.replace(b"RECIPIENT", inbox["address"].encode())):
            assert_served(server, http, inbox)

    def test_it_serves_others_beside_500_idle_connections(self, server: Any, http: httpx.Client, inbox: Any) -> None:
        with connections(server.smtp, IDLE, GREETED):
            until(partial(is_accepted, server, inbox), "others are let in", LET_IN_WITHIN)
            assert_served(server, http, inbox)


def random_attachment() -> bytes:
    lines = base64.encodebytes(random.randbytes(21 * MEBIBYTE)).replace(b"\n", b"\r\n")
    text = b'Content-Type: multipart/mixed; boundary="XX"\r\n\r\n--XX\r\n\r\nSee the file.\r\n--XX\r\n'
    kind = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
    name = b"Content-Disposition: attachment; filename=large.bin\r\n\r\n"
    return HEAD + text + kind + name + lines + b"--XX--\r\n"


def many_parts() -> bytes:
    kind = b'Content-Type: multipart/mixed; boundary="XX"\r\n\r\n'
    return HEAD + kind + b"--XX\r\nContent-Type: text/plain\r\n\r\npart\r\n" * 100_000 + b"--XX--\r\n"


def large_headers() -> bytes:
    header = b"X-Header: %b\r\n" % (b"v" * 80)
    return HEAD + header * (10 * MEBIBYTE // len(header)) + b"\r\nText\r\n"


class TestMail:
    @pytest.mark.parametrize("bad_mail", [random_attachment, many_parts, large_headers])
    def test_it_serves_others_beside_bad_mail(
        self, server: Any, http: httpx.Client, inbox: Any, bad_inbox: Any, bad_mail: Callable[[], bytes]
    ) -> None:
        text, held = bad_mail(), []
        for number in range(3):
            assert send(server.smtp, bad_inbox["address"], b"X-Number: %d\r\n" % number + text) == 250
            assert_served(server, http, inbox)
            until(partial(has_messages, http, bad_inbox, number + 1), "the bad mail is a message", HANDLED_WITHIN)
            held.append(memory(server))
        assert max(held) < MEMORY
        until(lambda: memory(server) - held[0] < GROWTH, "what the bad mail took is given back", SOON)


def is_accepted(server: Any, inbox: Any) -> bool:
    return send(server.smtp, inbox["address"], b"Subject: let in\r\n\r\n%d\r\n" % random.getrandbits(64)) == 250


def assert_served(server: Any, http: httpx.Client, inbox: Any) -> None:
    """An ordinary mail is accepted at once and visible soon."""
    before = len(messages(http, inbox))
    assert is_accepted(server, inbox)
    until(partial(has_messages, http, inbox, before + 1), "the mail of others is visible", SOON)


def has_messages(http: httpx.Client, inbox: Any, number: int) -> bool:
    return len(messages(http, inbox)) >= number


def memory(server: Any) -> int:
    """Octets that the largest of the smtp's and worker's processes holds."""
    first = [server._running[name].pid for name in ("smtp", "worker")]
    return max(resident_of(pid) for pid in [*first, *(child for pid in first for child in children_of(pid))])
