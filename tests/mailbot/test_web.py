"""The web process as a whole: what is behind which path, over a real socket."""

import re
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.cast import Caller
from tests.web import Web, running_web


@pytest.fixture
def web(transactional_db: None) -> Iterator[Web]:
    with running_web() as web:
        yield web


def exchanged(web: Web, request: bytes) -> bytes:
    """Everything that the server answers until it closes the connection."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


class TestWeb:
    def test_it_serves_the_console_with_its_assets(self, web: Web) -> None:
        page = httpx.get(f"{web.url}/admin/login/", verify=False)
        assert page.status_code == 200
        assert page.headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert page.headers["X-Frame-Options"] == "DENY"
        for asset in ("admin/css/base.css", "mailbot/console.css"):
            answer = httpx.get(f"{web.url}/static/{asset}", verify=False)
            assert answer.status_code == 200
            assert answer.headers["Content-Type"].startswith("text/css")

    def test_it_serves_the_api_as_a_page_with_its_own_assets(self, web: Web) -> None:
        page = httpx.get(f"{web.url}/docs/", verify=False)
        assert page.status_code == 200
        assert page.headers["Content-Security-Policy"].startswith("default-src 'self';")
        assets = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
        assert len(assets) == 5
        assert not re.findall(r"<script>|style=|https?://", page.text)
        for asset in assets:
            assert httpx.get(f"{web.url}{asset}", verify=False).status_code == 200

    @pytest.mark.parametrize(
        "path", ["/static/../settings.py", "/static/%2e%2e/settings.py", "/static/", "/static/nope.css"]
    )
    def test_it_serves_nothing_else_from_there(self, web: Web, path: str) -> None:
        assert httpx.get(f"{web.url}{path}", verify=False).status_code == 404

    def test_it_answers_a_probe_that_knows_no_host_name(self, web: Web) -> None:
        assert httpx.get(f"{web.url}/healthz", headers={"Host": "10.0.0.5"}, verify=False).status_code == 200
        assert httpx.get(f"{web.url}/admin/login/", headers={"Host": "10.0.0.5"}, verify=False).status_code == 400

    def test_it_reads_a_chunked_body(self, web: Web, alice: Caller) -> None:
        def body() -> Iterator[bytes]:
            yield b'{"username": '
            yield b'"chunked"}'

        with web.client(alice) as client:
            answer = client.post("/v1/inboxes", content=body(), headers={"Content-Type": "application/json"})
        assert answer.json()["data"]["username"] == "chunked"

    @pytest.mark.parametrize("path", ["/v1/inboxes", "/v1/inboxes/x/messages", "/v1/nope", "/admin/login/"])
    def test_it_reads_no_large_body_of_a_stranger(self, web: Web, path: str) -> None:
        answer = exchanged(web, f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**10}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"payload_too_large" in answer

    def test_it_ends_a_body_without_a_length_that_grows_too_large(self, web: Web, alice: Caller) -> None:
        head = (
            f"POST /v1/inboxes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {alice.secret}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"40000\r\n" + b" " * 0x40000 + b"\r\n"
        answer = exchanged(web, head.encode() + chunk * 5 + b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"payload_too_large" in answer

    def test_it_reads_a_large_mail(self, web: Web, alice: Caller) -> None:
        inbox = alice.create_inbox()
        with web.client(alice) as client:
            body = {"to": "a@example.com", "body_text": "x" * 3_000_000}
            assert client.post(f"/v1/inboxes/{inbox.pk}/messages", json=body).status_code == 202
            assert client.patch(f"/v1/inboxes/{inbox.pk}", json={"name": "x" * 3_000_000}).status_code == 413

    def test_it_answers_the_api_with_the_id_of_the_request(self, web: Web) -> None:
        answer = httpx.get(f"{web.url}/v1/inboxes", verify=False)
        assert answer.status_code == 401
        assert answer.json()["error"]["request_id"] == answer.headers["X-Request-Id"]
