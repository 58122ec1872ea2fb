"""Clients that lose the answer and try again: over real sockets, against the server of the Procfile."""

import secrets
import select
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.flows.conftest import HOST, Server, until

pytestmark = [pytest.mark.one_profile, pytest.mark.flows, pytest.mark.timeout(300)]

AT_ONCE = 4  # clients


def reset(connection: socket.socket) -> None:
    """RST, whatever is unread."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close(connection: socket.socket) -> None:
    """What a program does that ends: FIN, or RST when something is unread."""
    connection.close()


def end_and_close(connection: socket.socket) -> None:
    """FIN, even when something is unread; RST behind it."""
    connection.shutdown(socket.SHUT_WR)
    connection.close()


CUTS = [reset, close, end_and_close]
Cut = Callable[[socket.socket], None]


class Sender:
    """Sends to one inbox over plain sockets. Each mail has a subject of its own."""

    def __init__(self, server: Server) -> None:
        self.server = server
        with server.http() as http:
            name = f"sender-{secrets.token_hex(4)}"  # always as long, or answers would not be
            self.inbox = http.post("/inboxes", json={"username": name}).json()["data"]

    def request(self, subject: str, **headers: str) -> bytes:
        """Always as long as another one with a subject as long."""
        body = orjson.dumps({"to": "ann@example.com", "subject": subject})
        named = {
            "Host": "mailbot.localhost",
            "Authorization": f"Bearer {self.server.api_key}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"POST /v1/inboxes/{self.inbox['id']}/messages HTTP/1.1", *(f"{k}: {v}" for k, v in named.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def connect(self) -> socket.socket:
        return socket.create_connection((HOST, self.server.port), timeout=30)

    def ask(self, connection: socket.socket, request: bytes) -> tuple[dict[str, str], dict[str, Any]]:
        """Headers and data of a whole answer, of which not an octet more is read."""
        connection.sendall(request)
        head, body = read_answer(connection)
        status, *lines = head.decode().split("\r\n")
        assert status.split(" ")[1] == "202", (head, body)
        return dict(line.lower().split(": ", 1) for line in lines if line), orjson.loads(body)["data"]

    def send(self, request: bytes) -> tuple[dict[str, str], dict[str, Any]]:
        with self.connect() as connection:
            return self.ask(connection, request)

    def subjects(self) -> list[str]:
        with self.server.http() as http:
            found: list[str] = []
            query: dict[str, Any] = {"limit": 100}
            while True:
                page = http.get(f"/inboxes/{self.inbox['id']}/messages", params=query).json()
                found += [message["subject"] for message in page["data"]]
                if not page["meta"]["next_cursor"]:
                    return sorted(found)
                query["cursor"] = page["meta"]["next_cursor"]


def read_answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body; the body comes in chunks."""
    head = read_to(connection, b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    body = b""
    while octets := int(read_to(connection, b"\r\n"), 16):
        body += read(connection, octets + 2)[:-2]
    read(connection, 2)
    return head, body


def length_of(other: Sender) -> int:
    """Octets of a whole answer to a request like those of `cut_after`."""
    with other.connect() as connection:
        connection.sendall(other.request("00000"))
        whole = read_to(connection, b"\r\n0\r\n\r\n")
    return len(whole)


def read_to(connection: socket.socket, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        found += read(connection, 1)
    return found


def read(connection: socket.socket, octets: int) -> bytes:
    found = b""
    while len(found) < octets:
        piece = connection.recv(octets - len(found))
        assert piece, "the server has hung up"
        found += piece
    return found


@pytest.fixture
def sender(server: Server) -> Sender:
    return Sender(server)


def of_all(tries: list[Any], one: Callable[[Any], None]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, tries))


class TestCut:
    """The client has read so many octets of the answer, or written so many of the request, when its connection ends."""

    def test_it_sends_once_whatever_of_the_answer_was_read(self, sender: Sender) -> None:
        """A tenth of the octets, and all of those at both ends; `make soak` takes each."""
        length = length_of(Sender(sender.server))
        octets = [number for number in range(length) if number % 10 == 0 or not 20 < number < length - 20]
        cut_after(sender, [(number, CUTS[position % len(CUTS)]) for position, number in enumerate(octets)])

    @pytest.mark.soak
    @pytest.mark.timeout(1800)
    def test_it_sends_once_for_each_way_to_cut(self, sender: Sender) -> None:
        octets = range(length_of(Sender(sender.server)))
        cut_after(sender, [(number, cut) for number in octets for cut in CUTS])

    def test_it_sends_once_when_nobody_waits_for_the_answer(self, sender: Sender) -> None:
        """The connection ends behind the request, while that is carried out."""
        requests = [(f"gone {number:04}", CUTS[number % len(CUTS)]) for number in range(60)]

        def one(request: tuple[str, Cut]) -> None:
            subject, cut = request
            connection = sender.connect()
            connection.sendall(sender.request(subject))
            cut(connection)
            sender.send(sender.request(subject))

        of_all(requests, one)
        assert sender.subjects() == sorted(subject for subject, _ in requests)

    def test_it_sends_once_whatever_of_the_request_was_written(self, sender: Sender) -> None:
        octets = range(len(sender.request("part 0000")))

        def one(number: int) -> None:
            request = sender.request(f"part {number:04}")
            connection = sender.connect()
            connection.sendall(request[:number])
            CUTS[number % len(CUTS)](connection)
            sender.send(request)

        of_all(list(octets), one)
        assert sender.subjects() == [f"part {number:04}" for number in octets]

    def test_it_sends_once_when_the_connection_is_not_kept(self, sender: Sender) -> None:
        """Where both have said that they end, a reset behind it is not told to the server: so not `end_and_close`."""

        def one(number: int) -> None:
            request = sender.request(f"last {number:04}", Connection="close")
            connection = sender.connect()
            connection.sendall(request)
            read(connection, number)
            [reset, close][number % 2](connection)
            headers, _ = sender.send(request)
            assert headers.get("idempotent-replayed") == "true"

        of_all(list(range(1, 600, 7)), one)
        assert len(sender.subjects()) == len(range(1, 600, 7))

    def test_it_sends_once_when_the_second_answer_is_lost_too(self, sender: Sender) -> None:
        request = sender.request("thrice")
        for cut in CUTS:
            connection = sender.connect()
            connection.sendall(request)
            read(connection, 100)
            cut(connection)
        first = sender.send(request)[1]
        assert sender.subjects() == ["thrice"]
        # That the answer has arrived is known a moment after it has.
        until(lambda: sender.send(request)[1]["id"] != first["id"], "the same once more is another mail")

    def test_it_sends_once_with_a_key_too(self, sender: Sender) -> None:
        def one(number: int) -> None:
            request = sender.request(f"key {number:04}", Idempotency_Key=f"{number}-{secrets.token_hex(8)}")
            connection = sender.connect()
            connection.sendall(request)
            read(connection, number)
            CUTS[number % len(CUTS)](connection)
            headers, _ = sender.send(request)
            assert headers["idempotent-replayed"] == "true"

        of_all(list(range(1, 600, 7)), one)
        assert len(sender.subjects()) == len(range(1, 600, 7))


def cut_after(sender: Sender, tries: list[tuple[int, Cut]]) -> None:
    """Read so many octets of the answer, cut, and try again at once: the same message, and one of each in the end."""
    subjects = [f"{position:05}" for position in range(len(tries))]

    def one(position: int) -> None:
        octets, cut = tries[position]
        request = sender.request(subjects[position])
        connection = sender.connect()
        connection.sendall(request)
        read(connection, octets)
        select.select([connection], [], [], 30)  # with 0 octets, too, the answer is there
        cut(connection)
        headers, message = sender.send(request)
        assert headers.get("idempotent-replayed") == "true", (octets, cut.__name__)
        assert message["subject"] == subjects[position]

    of_all(list(range(len(tries))), one)
    assert sender.subjects() == subjects


class TestMeantTwice:
    """Answers that arrived: each identical send is one of its own."""

    def test_it_sends_both_on_one_connection(self, sender: Sender) -> None:
        with sender.connect() as connection:
            ids = {sender.ask(connection, sender.request("same"))[1]["id"] for _ in range(10)}
        assert len(ids) == 10

    @pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
    def test_it_sends_both_on_connections_that_end(self, sender: Sender, headers: dict[str, str]) -> None:
        ids = {sender.send(sender.request("same", **headers))[1]["id"] for _ in range(5)}
        assert len(ids) == 5

    def test_it_sends_both_on_connections_that_stay(self, sender: Sender) -> None:
        with sender.connect() as first, sender.connect() as second:
            ids = {sender.ask(connection, sender.request("same"))[1]["id"] for connection in (first, second)}
        assert len(ids) == 2

    def test_it_sends_all_of_many_at_once(self, sender: Sender) -> None:
        with ThreadPoolExecutor(4) as pool:
            ids = {message["id"] for _, message in pool.map(sender.send, [sender.request("same")] * 4)}
        assert len(ids) == 4

    def test_it_sends_the_next_one_after_a_replay_that_arrived(self, sender: Sender) -> None:
        connection = sender.connect()
        connection.sendall(sender.request("same"))
        read(connection, 10)
        reset(connection)
        ids = [sender.send(sender.request("same"))[1]["id"] for _ in range(3)]
        assert len(set(ids)) == 3
        assert len(sender.subjects()) == 3


class TestKill:
    """kill -9 of the web process between the commit and the answer."""

    @pytest.mark.parametrize("headers", [{}, {"Idempotency_Key": "after a kill"}], ids=["no key", "key"])
    def test_it_sends_once(self, fragile_server: Server, tmp_path: Path, headers: dict[str, str]) -> None:
        sender = Sender(fragile_server)
        mark = tmp_path / "killed"
        fragile_server.kill("web")
        fragile_server.start("web", MAILBOT_FAILPOINTS=f"send.committed=kill-group,once={mark}")
        request = sender.request("once", **headers)
        with sender.connect() as connection:
            connection.sendall(request)
            assert connection.recv(1) == b""
        until(lambda: not fragile_server.is_running("web"), "web is dead")
        assert mark.exists()
        fragile_server.start("web")
        answer, message = sender.send(request)
        assert answer["idempotent-replayed"] == "true"
        assert (message["subject"], sender.subjects()) == ("once", ["once"])


@pytest.fixture(scope="module")
def crowd(server: Server) -> Iterator[tuple[Sender, httpx.Client]]:
    with server.http() as http:
        yield Sender(server), http


class TestCrowd:
    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), min_size=2, max_size=AT_ONCE))
    def test_each_key_sends_one_mail(self, crowd: tuple[Sender, httpx.Client], asked: list[tuple[str, str]]) -> None:
        sender, http = crowd
        run = secrets.token_hex(6)

        def one(pair: tuple[str, str]) -> httpx.Response:
            key, subject = pair
            return http.post(
                f"/inboxes/{sender.inbox['id']}/messages",
                json={"to": "ann@example.com", "subject": f"{run} {subject}"},
                headers={"Idempotency-Key": f"{run}-{key}"},
            )

        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(one, asked))
        assert {answer.status_code for answer in answers} <= {202, 409}
        done = {
            (key, answer.json()["data"]["id"])
            for (key, _), answer in zip(asked, answers, strict=True)
            if answer.is_success
        }
        assert len(done) == len({key for key, _ in asked})
        assert len([subject for subject in sender.subjects() if subject.startswith(run)]) == len(done)
