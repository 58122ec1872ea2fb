"""Attachments that a send names by url: fetched by a worker, before the mail leaves"""

import email
import email.policy
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpcore
import pytest
from django.utils import timezone

from delivery.models import OutboundMail
from delivery.outbound import fetching
from delivery.outbound.states import State
from delivery.slow_work import work_through
from inboxes.models import Account, Inbox
from mailbot.lib import safe_fetch
from tests.cast import Caller, run_workers
from tests.file_server import FileServer, file_server
from tests.mailing import deliver, mail
from threads.conversation import complete_outgoing
from threads.models import Message

PDF = b"%PDF-1.7 " + bytes(range(256)) * 40


@pytest.fixture
def server(settings: Any) -> Iterator[FileServer]:
    settings.FETCH_ALLOW = ["127.0.0.0/8"]
    with file_server() as server:
        yield server


@pytest.fixture
def inbox(alice: Caller) -> Inbox:
    return alice.create_inbox(username="billing")


def files_of(alice: Caller, inbox: Inbox, message: dict[str, Any]) -> list[tuple[str, str, bytes]]:
    """As the mail has them."""
    raw = alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}/raw").content
    parsed: Any = email.message_from_bytes(raw, policy=email.policy.default)
    return [
        (part.get_filename(), part.get_content_type(), part.get_payload(decode=True))
        for part in parsed.iter_attachments()
    ]


def now_of(alice: Caller, inbox: Inbox, message: dict[str, Any]) -> dict[str, Any]:
    return dict(alice.get(f"/v1/inboxes/{inbox.pk}/messages/{message['id']}").json()["data"])


def make_due() -> None:
    OutboundMail.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))


class TestFetching:
    def test_it_sends_the_file_with_those_that_came_along(self, alice: Caller, inbox: Inbox, server: FileServer):
        url = server.gives("/invoice", PDF, Content_Type="application/pdf; charset=x")
        both = [
            {"filename": "a.txt", "content": "aGVsbG8="},
            {"filename": "invoice.pdf", "url": f"{url}?signature=secret"},
        ]
        sent = alice.send(inbox, subject="Invoice", attachments=both)
        assert (sent["status"], [file["filename"] for file in sent["attachments"]]) == ("queued", ["a.txt"])
        assert server.asked == []  # not in the request
        run_workers()
        message = now_of(alice, inbox, sent)
        assert message["status"] == "delivered"
        assert message["message_id_header"] == sent["message_id_header"]
        assert [(file["filename"], file["content_type"], file["size"]) for file in message["attachments"]] == [
            ("a.txt", "application/octet-stream", 5),
            ("invoice.pdf", "application/pdf", len(PDF)),
        ]
        assert files_of(alice, inbox, sent) == [
            ("a.txt", "application/octet-stream", b"hello"),
            ("invoice.pdf", "application/pdf", PDF),
        ]
        assert message["size"] > len(PDF)
        assert server.asked == ["/invoice?signature=secret"]

    def test_the_type_that_was_given_wins(self, alice: Caller, inbox: Inbox, server: FileServer):
        file = {
            "filename": "a.csv",
            "content_type": "text/csv",
            "url": server.gives("/a", b"1,2", Content_Type="text/html"),
        }
        sent = alice.send(inbox, attachments=[file])
        run_workers()
        assert now_of(alice, inbox, sent)["attachments"][0]["content_type"] == "text/csv"

    def test_it_comes_along_with_replies_and_forwards(self, alice: Caller, inbox: Inbox, server: FileServer):
        deliver(mail(attachments={"theirs.txt": b"theirs"}), inbox)
        parent = Message.objects.get()
        body = {"to": "a@example.com", "attachments": [{"filename": "ours.txt", "url": server.gives("/ours", b"ours")}]}
        path = f"/v1/inboxes/{inbox.pk}/messages/{parent.pk}"
        forwarded = alice.post(f"{path}/forward", body).json()["data"]
        replied = alice.post(f"{path}/reply", {"body_text": "Here.", "attachments": body["attachments"]}).json()["data"]
        run_workers()
        assert sorted(name for name, *_ in files_of(alice, inbox, forwarded)) == ["ours.txt", "theirs.txt"]
        assert [name for name, *_ in files_of(alice, inbox, replied)] == ["ours.txt"]

    def test_it_counts_what_was_fetched(self, alice: Caller, inbox: Inbox, server: FileServer):
        sent = alice.send(inbox, attachments=[{"filename": "a.pdf", "url": server.gives("/a", PDF)}])
        run_workers()
        inbox.refresh_from_db()
        size = now_of(alice, inbox, sent)["size"]
        assert (inbox.attachment_octets, inbox.message_octets) == (len(PDF), size)

    def test_what_is_to_be_sent_later_is_fetched_now_and_sent_then(
        self, alice: Caller, inbox: Inbox, server: FileServer
    ):
        at = (timezone.now() + timedelta(hours=2)).isoformat()
        file = {"filename": "a.txt", "url": server.gives("/a", b"a")}
        sent = alice.send(inbox, attachments=[file], send_at=at)
        run_workers()
        assert server.asked == ["/a"]
        assert now_of(alice, inbox, sent)["status"] == "scheduled"
        assert OutboundMail.objects.get().next_attempt_at > timezone.now() + timedelta(hours=1)

    def test_it_follows_a_redirect(self, alice: Caller, inbox: Inbox, server: FileServer):
        server.gives("/there", b"found")
        url = server.gives("/here", status=302, Location="/there")
        sent = alice.send(inbox, attachments=[{"filename": "a.txt", "url": url}])
        run_workers()
        assert files_of(alice, inbox, sent)[0][2] == b"found"


class TestFailures:
    def test_it_is_tried_again_when_the_server_is_in_trouble(self, alice: Caller, inbox: Inbox, server: FileServer):
        url = server.gives("/a", status=503)
        sent = alice.send(inbox, attachments=[{"filename": "a.txt", "url": url}])
        run_workers()
        assert now_of(alice, inbox, sent)["status"] == "queued"
        assert "answers 503" in OutboundMail.objects.get().error
        server.gives("/a", b"better")
        make_due()
        run_workers()
        assert now_of(alice, inbox, sent)["status"] == "delivered"

    def test_it_fails_after_the_last_try(self, alice: Caller, inbox: Inbox, server: FileServer):
        sent = alice.send(inbox, attachments=[{"filename": "a.txt", "url": server.gives("/a", status=500)}])
        for _ in range(len(fetching.RETRY_AFTER) + 1):
            make_due()
            run_workers()
        assert now_of(alice, inbox, sent)["status"] == "failed"
        assert len(server.asked) == len(fetching.RETRY_AFTER) + 1

    @pytest.mark.parametrize(
        ("status", "headers", "said"),
        [
            (404, {}, "answers 404"),
            (302, {"Location": "ftp://127.0.0.1/"}, "begins with https"),
            (302, {"Location": "/a"}, "more than 3 redirects"),
            (200, {"Content_Encoding": "gzip"}, "compressed"),
            (200, {"Content_Length": "99999999"}, "larger than"),
        ],
    )
    def test_it_says_why_there_is_no_other_try(
        self, alice: Caller, inbox: Inbox, server: FileServer, status: int, headers: dict[str, Any], said: str
    ):
        url = server.gives("/a", status=status, **headers)
        sent = alice.send(inbox, attachments=[{"filename": "a.txt", "url": f"{url}?signature=secret"}])
        run_workers()
        message = now_of(alice, inbox, sent)
        assert message["status"] == "failed"
        assert said in message["recipients"][0]["reason"]
        assert "secret" not in message["recipients"][0]["reason"]
        assert alice.events(message_id=sent["id"]) == ["message.queued", "message.failed"]
        assert alice.get("/v1/audit-log", action="message.failed").json()["meta"]["total"] == 1

    def test_a_body_without_end_is_cut_off(self, alice: Caller, inbox: Inbox, server: FileServer, settings: Any):
        settings.SMTP_MAX_SIZE = 100_000

        def pour(request: Any) -> None:
            request.send_response(200)
            request.end_headers()
            try:
                while True:
                    request.wfile.write(bytes(10_000))
            except OSError:
                pass

        sent = alice.send(inbox, attachments=[{"filename": "a.bin", "url": server.does("/a", pour)}])
        run_workers()
        assert "larger than" in now_of(alice, inbox, sent)["recipients"][0]["reason"]

    def test_a_server_that_drips_is_left_alone(
        self, alice: Caller, inbox: Inbox, server: FileServer, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(fetching, "SECONDS", 0.2)
        monkeypatch.setattr(safe_fetch, "SILENCE", 0.1)

        def hang(request: Any) -> None:
            request.send_response(200)
            request.end_headers()
            request.wfile.write(b"a")
            request.wfile.flush()
            request.connection.recv(1)  # until they hang up

        sent = alice.send(inbox, attachments=[{"filename": "a.bin", "url": server.does("/a", hang)}])
        run_workers()
        assert now_of(alice, inbox, sent)["status"] == "queued"
        assert OutboundMail.objects.get().attempts == 1

    def test_a_server_that_drips_its_headers_is_left_alone(
        self, alice: Caller, inbox: Inbox, server: FileServer, monkeypatch: pytest.MonkeyPatch
    ):
        """Each octet comes in time, and the whole never does."""
        monkeypatch.setattr(fetching, "SECONDS", 2)  # of which a busy machine may take one to connect
        gone = threading.Event()

        def drip(request: Any) -> None:
            try:
                while not gone.wait(0.02):
                    request.wfile.write(b"H")
            except OSError:
                gone.set()

        sent = alice.send(inbox, attachments=[{"filename": "a.bin", "url": server.does("/a", drip)}])
        run_workers()
        assert gone.wait(30)
        assert now_of(alice, inbox, sent)["status"] == "queued"
        assert "takes too long" in OutboundMail.objects.get().error

    def test_a_mail_that_cannot_be_prepared_holds_nobody_up(
        self, alice: Caller, inbox: Inbox, server: FileServer, monkeypatch: pytest.MonkeyPatch
    ):
        whole = complete_outgoing

        def trip(message: Message, *rest: Any) -> None:
            if message.subject == "first":
                raise RuntimeError("a mail that nobody thought of")
            whole(message, *rest)

        monkeypatch.setattr(fetching, "complete_outgoing", trip)
        url = server.gives("/a", b"a")
        first, second = (
            alice.send(inbox, subject=name, attachments=[{"filename": "a.txt", "url": url}])
            for name in ("first", "second")
        )
        run_workers()
        assert now_of(alice, inbox, second)["status"] == "delivered"
        for _ in range(len(fetching.RETRY_AFTER)):
            make_due()
            run_workers()
        assert now_of(alice, inbox, first)["status"] == "failed"

    def test_an_account_with_slow_servers_holds_nobody_up(
        self, alice: Caller, charlie: Caller, inbox: Inbox, server: FileServer
    ):
        other_is_done = threading.Event()

        def wait(request: Any) -> None:
            other_is_done.wait(10)
            request.send_response(404)
            request.end_headers()

        def give(request: Any) -> None:
            other_is_done.set()
            request.send_response(404)
            request.end_headers()

        for number in range(fetching.AT_ONCE + 1):
            alice.send(inbox, attachments=[{"filename": "a", "url": server.does(f"/slow/{number}", wait)}])
        charlie.send(charlie.create_inbox(), attachments=[{"filename": "a", "url": server.does("/quick", give)}])
        run_workers()
        assert server.asked.index("/quick") <= fetching.AT_ONCE_OF_AN_ACCOUNT

    def test_a_worker_that_died_is_no_loss(self, alice: Caller, inbox: Inbox, server: FileServer):
        sent = alice.send(inbox, attachments=[{"filename": "a.txt", "url": server.gives("/a", b"a")}])
        now = timezone.now()
        OutboundMail.objects.update(lease_token="dead", lease_until=now + timedelta(minutes=1))
        run_workers()
        assert (server.asked, now_of(alice, inbox, sent)["status"]) == ([], "queued")
        OutboundMail.objects.update(lease_until=now - timedelta(seconds=1))
        run_workers()
        assert now_of(alice, inbox, sent)["status"] == "delivered"

    def test_a_worker_that_was_too_slow_changes_nothing(
        self, alice: Caller, inbox: Inbox, server: FileServer, monkeypatch: pytest.MonkeyPatch
    ):
        def steal(*_: Any, **__: Any) -> None:
            OutboundMail.objects.update(lease_token="another")

        monkeypatch.setattr(fetching, "check_room", steal)
        sent = alice.send(inbox, attachments=[{"filename": "a.txt", "url": server.gives("/a", b"a")}])
        work_through(fetching.ATTACHMENTS)
        assert OutboundMail.objects.get().state == State.PREPARING
        assert now_of(alice, inbox, sent)["attachments"] == []

    def test_an_inbox_that_was_paused_meanwhile_sends_nothing(self, alice: Caller, inbox: Inbox, server: FileServer):
        sent = alice.send(inbox, attachments=[{"filename": "a.txt", "url": server.gives("/a", b"a")}])
        alice.post(f"/v1/inboxes/{inbox.pk}/pause", {"reason": "Wait"})
        run_workers()
        assert (server.asked, now_of(alice, inbox, sent)["status"]) == ([], "blocked")

    def test_an_account_without_room_fetches_nothing(self, alice: Caller, inbox: Inbox, server: FileServer):
        Account.objects.update(is_full=True)
        body = {"to": "a@example.com", "attachments": [{"filename": "a.txt", "url": server.gives("/a", b"a")}]}
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages", body)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (422, "storage_quota")


class TestForbidden:
    """What a caller could otherwise reach inside of the server's own network."""

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::a00:1]/",
            "http://[2002:7f00:1::]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
            "http://224.0.0.1/",
            "http://192.0.0.170/",
            "http://192.88.99.1/",
            "http://[::7f00:1]/",
            "http://[64:ff9b:1::1]/",
            "http://[2001:0:7f00:1::]/",
            "http://[2001:db8::1]/",
            "http://[3fff::1]/",
            "http://[5f00::1]/",
            "http://[fec0::1]/",
            "http://[fd00::1]/",
            "http://example.com:22/",
            "https://user:password@example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://",
            "https://example.com:0/",
            "https://exämple.com/",
            "https://example.com/a b",
            "https://example.com:99999/",
        ],
    )
    def test_it_is_refused_at_once(self, alice: Caller, inbox: Inbox, url: str):
        body = {"to": "a@example.com", "attachments": [{"filename": "a", "url": url}]}
        answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages", body)
        assert answer.status_code == 400
        assert "url" in str(answer.json()["error"]["fields"])

    def test_a_name_that_leads_inside_is_not_connected_to(
        self, alice: Caller, inbox: Inbox, server: FileServer, settings: Any, monkeypatch: pytest.MonkeyPatch
    ):
        settings.FETCH_ALLOW = []
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 0))])
        url = server.gives("/a", b"secret").replace("127.0.0.1", "files.example")
        sent = alice.send(inbox, attachments=[{"filename": "a.txt", "url": url}])
        run_workers()
        assert "no public address" in now_of(alice, inbox, sent)["recipients"][0]["reason"]
        assert server.asked == []

    def test_a_redirect_that_leads_inside_is_not_followed(
        self, alice: Caller, inbox: Inbox, server: FileServer, settings: Any
    ):
        settings.FETCH_ALLOW = ["localhost"]
        port = server.url.rpartition(":")[2]
        server.gives("/inside", b"secret")
        server.gives("/a", status=302, Location=f"http://127.0.0.1:{port}/inside")
        sent = alice.send(inbox, attachments=[{"filename": "a.txt", "url": f"http://localhost:{port}/a"}])
        run_workers()
        assert "no public address" in now_of(alice, inbox, sent)["recipients"][0]["reason"]
        assert server.asked == ["/a"]

    def test_it_connects_to_the_address_that_was_checked(self, monkeypatch: pytest.MonkeyPatch):
        """A name that leads elsewhere when it is looked up again leads nowhere: it is looked up once."""
        answers = iter([[(2, 1, 6, "", ("93.184.216.34", 80))], [(2, 1, 6, "", ("127.0.0.1", 80))]])
        whole = socket.getaddrinfo  # another thread may be on its way to Redis

        def look_up(host: str, *others: Any, **named: Any) -> Any:
            return next(answers) if host == "rebinding.example" else whole(host, *others, **named)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        connected: list[str] = []

        def connect(self: Any, host: str, *_: Any) -> Any:
            connected.append(host)
            raise httpcore.ConnectError("nobody there")

        monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
        with pytest.raises(safe_fetch.FetchFailed):
            safe_fetch.fetch("http://rebinding.example/", most=10, seconds=30)
        assert connected == ["93.184.216.34"]

    def test_it_takes_a_file_or_a_url(self, alice: Caller, inbox: Inbox):
        for file in ({"filename": "a"}, {"filename": "a", "content": "YQ==", "url": "https://example.com/"}):
            answer = alice.post(f"/v1/inboxes/{inbox.pk}/messages", {"to": "a@example.com", "attachments": [file]})
            assert "one of them" in answer.json()["error"]["message"] or "one of them" in str(answer.json())
            assert answer.status_code == 400
