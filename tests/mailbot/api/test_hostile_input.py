"""Whatever is sent to /v1: a 4xx with a reason, and never a 5xx. The schema says what can be sent where, so new routes are in it."""

import json
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from inboxes.models import Account
from tests.cast import Caller, run_workers
from tests.contract import document
from tests.mailing import deliver, mail
from threads.models import Message

# JSON as it is written into the body: Python's own encoder would not write all of it.
VALUES = {
    "NUL": '"a\\u0000b"',
    "a lone surrogate": '"a\\ud800b"',
    "10,000 characters": json.dumps("x" * 10_000),
    "10,000 characters outside ASCII": json.dumps("ü" * 10_000),
    "a huge number": "1" + "0" * 400,
    "a number with very many digits": "9" * 5_000,
    "a negative number": "-1",
    "a fraction": "1.5",
    "an exponent": "1e999",
    "a boolean": "true",
    "null": "null",
    "10,000 items": json.dumps(["x"] * 10_000),
    "a list of lists": '[["x"], [["x"]]]',
    "a list of null": "[null]",
    "a list of objects": '[{}, {"a": {}}]',
    "a list of NUL": '["a\\u0000b"]',
    "an object with a NUL in a name": '{"a\\u0000b": "x"}',
    "an object of a deep list": '{"a": ' + "[" * 45 + "]" * 45 + "}",
    "line ends": '"a\\r\\nBcc: b@example.com"',
    "spaces": '"   "',
    "brackets": json.dumps("(" * 900),
    "a direction of writing": '"\\u202eabc\\u0000"',
}
TEXTS = {
    "NUL": "a\0b",
    "10,000 characters": "x" * 10_000,
    "a huge number": "9" * 400,
    "10^9": "1000000000",
    "a negative number": "-1",
    "the first year": "0001-01-01T00:00:00+14:00",
    "the last year": "9999-12-31T23:59:59-14:00",
    "an id of nothing": "msg_7zzzzzzzzzzzzzzzzzzzzzzzzz",
    "wildcards": "%_\\",
    "quotes": "'\"`;--",
    "another alphabet": "日本語\u202e🙂",
}
OPERATIONS: list[Any] = [
    pytest.param(path, method, operation, id=operation["operationId"])
    for path, methods in document()["paths"].items()
    for method, operation in methods.items()
    if not path.endswith("/wait")  # not Django's: TestConnection
]
WITH_BODY = [one for one in OPERATIONS if "requestBody" in one.values[2]]
WITH_QUERY = [one for one in OPERATIONS if any(part.get("in") == "query" for part in one.values[2]["parameters"])]


class Scene(NamedTuple):
    alice: Caller
    ids: dict[str, str]


@pytest.fixture(scope="module")
def scene(kept_rows: None) -> Scene:
    """Real ids for the paths: behind a 404 nothing would be tried."""
    alice = Caller(Account.objects.create(name="Acme"), "Alice")
    inbox = alice.create_inbox()
    deliver(mail(Subject="Hello"), inbox)
    run_workers()
    message = Message.objects.get(inbox=inbox)
    body = {"name": "Postmark", "esp": "postmark", "credentials": {"server_token": "secret"}}
    provider = alice.with_key(mode="live").post("/v1/providers", body).json()["data"]
    domain = alice.post("/v1/domains", {"domain": "shop.example"}).json()["data"]
    suppression = alice.post("/v1/suppressions", {"address": "ann@shop.example"}).json()["data"]
    retention = alice.with_key(mode="live").post("/v1/retention-classes", {"name": "Long", "content_days": 3650})
    hold = alice.post("/v1/holds", {"inbox_id": alice.create_inbox().pk, "matter": "Case 7", "reason": "discovery"})
    ids = {
        "retention_class_id": retention.json()["data"]["id"],
        "hold_id": hold.json()["data"]["id"],
        "domain_id": domain["id"],
        "suppression_id": suppression["id"],
        "inbox_id": inbox.pk,
        "message_id": message.pk,
        "thread_id": message.thread_id,
        "provider_id": provider["id"],
    }
    return Scene(alice, ids)


@pytest.fixture
def alice(scene: Scene, db: None) -> Caller:
    return scene.alice


@pytest.fixture
def world(scene: Scene, db: None) -> dict[str, str]:
    return scene.ids


def calling(alice: Caller, path: str) -> Caller:
    """Alice with a key that sees something there: test keys have no providers."""
    return alice.with_key(mode="live") if "{provider_id}" in path else alice


def filled(path: str, world: dict[str, str], operation: dict[str, Any]) -> str:
    """The path with real ids; where there is none of that kind, with the schema's example."""
    for parameter in operation["parameters"]:
        if parameter.get("in") == "path":
            name = parameter["name"]
            path = path.replace(f"{{{name}}}", world.get(name, parameter["example"]))
    return path


def body_of(operation: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The example, and all the fields that there are."""
    content = operation["requestBody"]["content"]["application/json"]
    shape = document()["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    return content.get("example", {}), list(shape["properties"])


def assert_is_no_fault_of_ours(answer: Any, what: str) -> None:
    assert answer.status_code < 500, f"{what}: {answer.content[:300]!r}"
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert error["message"], what
        assert error["fix"], what


class TestBody:
    @pytest.mark.parametrize(("path", "method", "operation"), WITH_BODY)
    def test_it_takes_anything_in_any_field(
        self, alice: Caller, world: dict[str, str], path: str, method: str, operation: Any
    ) -> None:
        example, names = body_of(operation)
        for name in names:
            rest = json.dumps({key: value for key, value in example.items() if key != name})[1:-1]
            for what, value in VALUES.items():
                body = f"{{{json.dumps(name)}: {value}{', ' if rest else ''}{rest}}}"
                answer = alice.client.generic(
                    method.upper(), filled(path, world, operation), body, content_type="application/json"
                )
                assert_is_no_fault_of_ours(answer, f"{name}: {what}")

    @pytest.mark.parametrize(("path", "method", "operation"), WITH_BODY)
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", None),
            (b"[]", 400),
            (b'"x"', 400),
            (b"null", 400),
            (b"{", 400),
            (b"\xff\xfe{}", 400),
            (b'{"a": "\xff"}', 400),
            (b"{}" * 2, 400),
            (b'{"nope": 1}', 400),
            (b'{"nope\\u0000": 1}', 400),
            (b'{"' + b"n" * 100_000 + b'": 1}', 400),
            (b"[" * 100_000, 400),
            (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
            (b'{"name": "a", "name": "b"}', 400),
            (b'{"metadata": {"a": 1, "a": 2}}', 400),
        ],
        ids=lambda value: repr(value)[:24],
    )
    def test_it_reads_nothing_else_as_an_object(
        self,
        alice: Caller,
        world: dict[str, str],
        path: str,
        method: str,
        operation: Any,
        body: bytes,
        status: int | None,
    ) -> None:
        answer = calling(alice, path).client.generic(
            method.upper(), filled(path, world, operation), body, content_type="application/json"
        )
        assert_is_no_fault_of_ours(answer, repr(body[:20]))
        assert status in (None, answer.status_code)

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "x", "a/b; c=\0"]
    )
    def test_it_refuses_another_type_of_body(self, alice: Caller, kind: str) -> None:
        answer = alice.client.generic("POST", "/v1/inboxes", b'{"username": "x"}', content_type=kind)
        assert answer.status_code == 415

    def test_it_says_which_name_comes_twice(self, alice: Caller) -> None:
        answer = alice.client.generic(
            "POST", "/v1/inboxes", b'{"username": "a", "username": "b"}', content_type="application/json"
        )
        assert answer.status_code == 400
        assert "username" in answer.json()["error"]["message"]

    @pytest.mark.parametrize(
        ("field", "value"),
        [("username", 12), ("display_name", True), ("expires_in", "60"), ("expires_in", True), ("oversight", "yes")],
    )
    def test_it_guesses_no_type(self, alice: Caller, field: str, value: object) -> None:
        answer = alice.post("/v1/inboxes", {field: value})
        assert answer.status_code == 400
        assert field in answer.json()["error"]["fields"]

    def test_it_names_the_label_that_is_too_long(self, alice: Caller, world: dict[str, str]) -> None:
        path = f"/v1/inboxes/{world['inbox_id']}/messages/{world['message_id']}/labels"
        answer = alice.put(path, {"labels": ["fine", "x" * 10_000]})
        assert answer.status_code == 400
        assert "labels.1" in answer.json()["error"]["fields"]

    def test_it_refuses_a_field_where_none_is_read(self, alice: Caller, world: dict[str, str]) -> None:
        assert alice.post(f"/v1/inboxes/{world['inbox_id']}/pause", {"reasons": "x"}).status_code == 400


class TestQuery:
    @pytest.mark.parametrize(("path", "method", "operation"), WITH_QUERY)
    def test_it_takes_anything_in_any_parameter(
        self, alice: Caller, world: dict[str, str], path: str, method: str, operation: Any
    ) -> None:
        for parameter in operation["parameters"]:
            if parameter.get("in") != "query":
                continue
            for what, text in TEXTS.items():
                query = f"{parameter['name']}={quote(text)}"
                answer = alice.client.generic(method.upper(), f"{filled(path, world, operation)}?{query}")
                assert_is_no_fault_of_ours(answer, f"{parameter['name']}: {what}")

    @pytest.mark.parametrize(("path", "method", "operation"), WITH_QUERY)
    def test_an_empty_parameter_counts_as_absent(
        self, alice: Caller, world: dict[str, str], path: str, method: str, operation: Any
    ) -> None:
        parameters = [parameter for parameter in operation["parameters"] if parameter.get("in") == "query"]
        query = "&".join(f"{parameter['name']}=" for parameter in parameters)
        answer = alice.client.generic(method.upper(), f"{filled(path, world, operation)}?{query}")
        if lacking := {parameter["name"] for parameter in parameters if parameter.get("required")}:
            assert (answer.status_code, answer.json()["error"]["fields"].keys()) == (400, lacking)
        else:
            assert answer.status_code < 300

    @pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
    def test_it_names_an_unknown_parameter(
        self, alice: Caller, world: dict[str, str], path: str, method: str, operation: Any
    ) -> None:
        if not operation["security"]:
            return
        answer = alice.client.generic(
            method.upper(), f"{filled(path, world, operation)}?limti=5", "{}", "application/json"
        )
        assert answer.status_code == 400 or "{" in path.replace("{inbox_id}", "").replace("{message_id}", "")
        if answer.status_code == 400:
            assert answer.json()["error"]["fields"].keys() >= {"limti"}

    def test_it_names_the_nearest_one(self, alice: Caller) -> None:
        answer = alice.get("/v1/inboxes", limti=5)
        assert answer.json()["error"]["fields"]["limti"] == ["Unknown query parameter. Did you mean “limit”?"]

    @pytest.mark.parametrize(
        "query", ["page=1000000000", "page=0", "limit=101", "limit=1e3", "cursor=x", "page=٣٣٣٣٣٣٣٣"]
    )
    def test_it_refuses_a_page_that_cannot_be(self, alice: Caller, query: str) -> None:
        assert alice.client.get(f"/v1/inboxes?{query}").status_code == 400

    def test_it_refuses_a_parameter_that_is_given_twice(self, alice: Caller) -> None:
        answer = alice.client.get("/v1/inboxes?limit=1&limit=2")
        assert answer.status_code == 400
        assert "limit" in answer.json()["error"]["fields"]

    @pytest.mark.parametrize("query", ["status=%ff", "%ff=%ff", "status=%00", "%00=1", "&&&=&=", "a" * 60_000])
    def test_it_reads_a_query_that_is_no_text(self, alice: Caller, query: str) -> None:
        assert alice.client.get(f"/v1/inboxes?{query}").status_code in (200, 400)


class TestPath:
    @pytest.mark.parametrize(("path", "method", "operation"), [one for one in OPERATIONS if "{" in str(one.values[0])])
    def test_it_finds_nothing_by_a_text_that_is_no_id(
        self, alice: Caller, world: dict[str, str], path: str, method: str, operation: Any
    ) -> None:
        body = json.dumps(body_of(operation)[0]) if "requestBody" in operation else ""
        for name in (one["name"] for one in operation["parameters"] if one.get("in") == "path"):
            for text in ("a%00b", "%ff", "x" * 5_000, "%2e%2e", "a%2fb", "%F0%9F%99%82", "'", "inbox_", "null"):
                other = filled(path.replace(f"{{{name}}}", text), world, operation)
                answer = alice.client.generic(method.upper(), other, body, content_type="application/json")
                assert answer.status_code == 404, other
