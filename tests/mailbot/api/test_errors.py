"""What every path of /v1 has in common"""

import pytest
from django.test import Client

from tests.cast import Caller


class TestErrors:
    @pytest.mark.parametrize("path", ["/v1/", "/v1/nope", "/v1/inboxes/", "/v1/inboxes/x/nope"])
    def test_it_is_json_for_a_path_that_is_not_there(self, db: None, path: str) -> None:
        answer = Client().get(path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"
        assert answer.json()["error"]["request_id"] == answer.headers["X-Request-Id"]

    def test_it_names_the_methods_that_there_are(self, alice: Caller) -> None:
        answer = alice.put("/v1/inboxes", {})
        assert answer.status_code == 405
        assert "POST" in answer.headers["Allow"]

    @pytest.mark.parametrize("method", ["head", "options", "trace"])
    def test_it_tells_nothing_without_a_key_by_any_method(self, db: None, method: str) -> None:
        answer = getattr(Client(), method)("/v1/inboxes")
        assert answer.status_code in (401, 405)

    def test_it_asks_the_same_right_for_head_as_for_get(self, alice: Caller) -> None:
        lacking = alice.with_key(permissions=["messages:read"])
        assert lacking.client.head("/v1/inboxes").status_code == 403
        assert alice.client.head("/v1/inboxes").status_code == 200

    def test_it_refuses_what_is_not_json(self, alice: Caller) -> None:
        assert alice.client.post("/v1/inboxes", {"username": "x"}).status_code == 415

    def test_it_refuses_what_is_too_large(self, alice: Caller, settings: object) -> None:
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100  # type: ignore[attr-defined]
        answer = alice.post("/v1/inboxes", {"username": "x" * 200})
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "payload_too_large"

    def test_it_ignores_a_request_id_that_is_no_such_thing(self, alice: Caller) -> None:
        answer = alice.client.get("/v1/inboxes", headers={"X-Request-Id": "x\r\ny"})
        assert answer.headers["X-Request-Id"].startswith("req_")

    def test_it_has_no_session_and_no_cookie(self, alice: Caller) -> None:
        assert not alice.get("/v1/inboxes").cookies


class TestProcess:
    def test_it_is_up(self) -> None:
        assert Client().get("/healthz").json() == {"status": "ok"}
