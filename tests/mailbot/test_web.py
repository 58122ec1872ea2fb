"""The web process as a whole: what is behind which path, over a real socket."""

from collections.abc import Iterator

import httpx
import pytest

from tests.cast import Caller
from tests.web import Web, running_web


@pytest.fixture
def web(transactional_db: None) -> Iterator[Web]:
    with running_web() as web:
        yield web


class TestWeb:
    def test_it_serves_the_console_with_its_assets(self, web: Web) -> None:
        page = httpx.get(f"{web.url}/admin/login/")
        assert page.status_code == 200
        for asset in ("admin/css/base.css", "mailbot/console.css"):
            answer = httpx.get(f"{web.url}/static/{asset}")
            assert answer.status_code == 200
            assert answer.headers["Content-Type"].startswith("text/css")

    @pytest.mark.parametrize(
        "path", ["/static/../settings.py", "/static/%2e%2e/settings.py", "/static/", "/static/nope.css"]
    )
    def test_it_serves_nothing_else_from_there(self, web: Web, path: str) -> None:
        assert httpx.get(f"{web.url}{path}").status_code == 404

    def test_it_reads_a_chunked_body(self, web: Web, alice: Caller) -> None:
        def body() -> Iterator[bytes]:
            yield b'{"username": '
            yield b'"chunked"}'

        with web.client(alice) as client:
            answer = client.post("/v1/inboxes", content=body(), headers={"Content-Type": "application/json"})
        assert answer.json()["data"]["username"] == "chunked"

    def test_it_answers_the_api_with_the_id_of_the_request(self, web: Web) -> None:
        answer = httpx.get(f"{web.url}/v1/inboxes")
        assert answer.status_code == 401
        assert answer.json()["error"]["request_id"] == answer.headers["X-Request-Id"]
