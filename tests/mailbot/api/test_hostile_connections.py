"""Whatever is sent to a web process of /v1 that Django's own client cannot send: a 4xx with a reason, and never a 5xx."""

from collections.abc import Iterator

import httpx
import pytest

from tests.cast import Caller
from tests.contract import document
from tests.mailbot.api.test_hostile_input import TEXTS, assert_is_no_fault_of_ours
from tests.web import Web, running_web


@pytest.fixture
def web(transactional_db: None) -> Iterator[Web]:
    with running_web() as web:
        yield web


class TestConnection:
    @pytest.mark.parametrize(
        "path", ["/v1/" + "x" * 60_000, "/v1/inboxes/" + "%00" * 1_000, "/v1/%ff%fe", "/v1/inboxes?" + "a=1&" * 10_000]
    )
    def test_it_answers_a_path_that_leads_nowhere(self, web: Web, alice: Caller, path: str) -> None:
        with web.client(alice) as client:
            answer = client.get(path)
        assert_is_no_fault_of_ours(answer, path[:40])
        assert answer.status_code >= 400

    def test_it_reads_no_chunked_body_that_is_no_json(self, web: Web, alice: Caller) -> None:
        with web.client(alice) as client:
            answer = client.post(
                "/v1/inboxes", content=iter([b'{"username"', b": }"]), headers={"Content-Type": "application/json"}
            )
        assert answer.status_code == 400

    @pytest.mark.parametrize(("name", "text"), [*TEXTS.items()])
    def test_a_wait_takes_anything_in_any_parameter(self, web: Web, alice: Caller, name: str, text: str) -> None:
        inbox = alice.create_inbox()
        path = "/v1/inboxes/{inbox_id}/messages/wait"
        with web.client(alice) as client:
            for parameter in document()["paths"][path]["get"]["parameters"]:
                if parameter["in"] == "query":
                    query = {"timeout_ms": "0", parameter["name"]: text}
                    answer = client.get(path.replace("{inbox_id}", inbox.pk), params=query)
                    assert_is_no_fault_of_ours(answer, f"{parameter['name']}: {name}")

    @pytest.mark.parametrize("path", ["/v1/nope", "/v1/inboxes", "/v1/openapi.json"])
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"])
    def test_it_answers_any_method_with_the_id_of_the_request(self, web: Web, method: str, path: str) -> None:
        answer = httpx.request(method, f"{web.url}{path}", headers={"X-Request-Id": "mine-12345"}, verify=False)
        assert answer.headers["X-Request-Id"] == "mine-12345"
        assert answer.status_code < 500
