"""What every path of /v1 has in common"""

import base64
import json

import pytest
from django.test import Client

from tests.cast import Caller


class TestErrors:
    @pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
    def test_a_path_that_is_not_there_is_that_by_any_method(self, method: str) -> None:
        answer = getattr(Client(enforce_csrf_checks=True), method)("/v1/inboxes/threads/nope")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")

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
        assert "Allow" in answer.json()["error"]["fix"]

    @pytest.mark.parametrize("method", ["head", "options", "trace"])
    def test_it_tells_nothing_without_a_key_by_any_method(self, db: None, method: str) -> None:
        answer = getattr(Client(), method)("/v1/inboxes")
        assert answer.status_code in (401, 405)

    def test_it_asks_the_same_right_for_head_as_for_get(self, alice: Caller) -> None:
        lacking = alice.with_key(permissions=["messages:read"])
        assert lacking.client.head("/v1/inboxes").status_code == 403
        assert alice.client.head("/v1/inboxes").status_code == 200

    def test_it_refuses_what_is_not_json(self, alice: Caller) -> None:
        answer = alice.client.post("/v1/inboxes", {"username": "x"})
        assert answer.status_code == 415
        assert "Content-Type: application/json" in answer.json()["error"]["fix"]

    def test_it_names_what_could_be_chosen(self, alice: Caller) -> None:
        answer = alice.get("/v1/inboxes", status="actve")
        assert answer.status_code == 400
        reason = "“actve” is none of: active, paused, tripped, deleted. Did you mean “active”?"
        assert answer.json()["error"]["fields"] == {"status": [reason]}

    def test_it_refuses_what_is_too_large(self, alice: Caller, settings: object) -> None:
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100  # type: ignore[attr-defined]
        answer = alice.post("/v1/inboxes", {"username": "x" * 200})
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "payload_too_large"

    @pytest.mark.parametrize("depth", [60, 300, 1000, 5000])
    @pytest.mark.parametrize("field", ["metadata", "username", "nope"])
    def test_it_refuses_what_is_nested_too_deeply(self, alice: Caller, depth: int, field: str) -> None:
        body = f'{{"{field}": {{"a": {"[" * depth}{"]" * depth}}}}}'
        answer = alice.client.post("/v1/inboxes", body, content_type="application/json")
        assert answer.status_code == 400
        assert alice.get("/v1/inboxes").json()["meta"]["total"] == 0

    def test_it_shows_again_what_is_nested_as_deeply_as_may_be(self, alice: Caller) -> None:
        body = f'{{"metadata": {{"a": {"[" * 48}{"]" * 48}}}}}'
        assert alice.client.post("/v1/inboxes", body, content_type="application/json").status_code == 201
        assert alice.get("/v1/inboxes").status_code == alice.get("/v1/audit-log").status_code == 200

    def test_it_names_some_of_very_many_unknown_fields(self, alice: Caller) -> None:
        answer = alice.post("/v1/inboxes", {f"usernam{number}": 1 for number in range(10_000)})
        assert answer.status_code == 400
        assert len(answer.json()["error"]["fields"]) == 20

    @pytest.mark.parametrize("path", ["/v1/inboxes", "/v1/events", "/v1/audit-log"])
    def test_it_refuses_very_many_parameters(self, alice: Caller, path: str) -> None:
        assert alice.get(path, **{f"a{number}": "1" for number in range(2500)}).status_code == 400

    @pytest.mark.parametrize(
        "values", [["\ud800"], ["ü"], ["0001-01-01T00:00:00+14:00", "x"], ["9999-12-31T23:59:59-14:00", "x"], [1.5]]
    )
    def test_it_takes_no_cursor_that_it_has_not_given(self, alice: Caller, values: list[object]) -> None:
        cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
        inbox = alice.create_inbox()
        for path in ("inboxes", "events", "audit-log", f"inboxes/{inbox.pk}/messages", f"inboxes/{inbox.pk}/threads"):
            assert alice.get(f"/v1/{path}", cursor=cursor).status_code == 400, path

    def test_it_ignores_a_request_id_that_is_no_such_thing(self, alice: Caller) -> None:
        answer = alice.client.get("/v1/inboxes", headers={"X-Request-Id": "x\r\ny"})
        assert answer.headers["X-Request-Id"].startswith("req_")

    def test_it_has_no_session_and_no_cookie(self, alice: Caller) -> None:
        assert not alice.get("/v1/inboxes").cookies


class TestProcess:
    def test_it_is_up(self) -> None:
        assert Client().get("/healthz").json() == {"status": "ok"}
