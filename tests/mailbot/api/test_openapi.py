"""/v1/openapi.json: held against the routes in both directions, and against what it promises of each operation."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.validation import validate_schema

from inboxes.permissions import FULL
from mailbot.api.errors import STATUS, Code
from mailbot.api.openapi import openapi, operation_id
from mailbot.documentation import BESIDE_DJANGO
from tests.contract import document

pytestmark = pytest.mark.one_profile  # the document is made of views and shapes, and of no row

METHODS = ("get", "post", "put", "patch", "delete")
KEYLESS = {"/v1/openapi.json"}
OPERATIONS = [
    pytest.param(path, method, operation, id=operation["operationId"])
    for path, methods in document()["paths"].items()
    for method, operation in methods.items()
]


def routes(patterns: Any, prefix: str = "/") -> Iterator[tuple[str, str]]:
    """Method and path of each route below /v1, whoever answers it."""
    for entry in patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns, path)
        elif isinstance(entry, URLPattern) and path.startswith("/v1/"):
            view = getattr(entry.callback, "view_class", None)
            for method in METHODS if view else ():
                if hasattr(view, method):
                    yield method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    found: Any = document()
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


def media(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every JSON body of the operation, asked or answered, with where it is."""
    parts = {"requestBody": operation.get("requestBody", {}), **operation["responses"]}
    for place, part in parts.items():
        if (body := resolved(part).get("content", {}).get("application/json")) and operation["security"]:
            yield place, body


SEARCHES = {"list_search", "list_message_search"}  # by rank: there is no page that stays the same


class TestDocument:
    def test_it_is_served_to_everybody(self, db: None) -> None:
        answer = Client().get("/v1/openapi.json")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json() == document()

    def test_it_is_valid_openapi_3_1(self) -> None:
        assert document()["openapi"].startswith("3.1")
        validate_schema(document())

    def test_it_is_made_without_a_guess(self) -> None:
        GENERATOR_STATS.reset()
        openapi([*get_resolver().url_patterns, *BESIDE_DJANGO])
        assert not GENERATOR_STATS._warn_cache
        assert not GENERATOR_STATS._error_cache

    def test_it_has_every_route_and_no_other(self) -> None:
        described = {(method, path) for path, methods in document()["paths"].items() for method in methods}
        assert described == set(routes([*get_resolver().url_patterns, *BESIDE_DJANGO]))

    def test_it_refers_to_nothing_that_is_not_there(self) -> None:
        for pointer in set(re.findall(r'"\$ref": "([^"]+)"', str(document()).replace("'", '"'))):
            assert resolved({"$ref": pointer})

    def test_it_names_each_operation_once(self) -> None:
        names = [operation["operationId"] for methods in document()["paths"].values() for operation in methods.values()]
        assert len(names) == len(set(names))

    def test_it_knows_every_code_of_an_error(self) -> None:
        codes = document()["components"]["schemas"]["Error"]["properties"]["code"]["enum"]
        assert codes == [code.value for code in Code]

    @pytest.mark.parametrize(
        ("method", "path", "many", "name"),
        [
            ("GET", "/v1/inboxes", True, "list_inboxes"),
            ("POST", "/v1/inboxes", False, "create_inbox"),
            ("PATCH", "/v1/inboxes/{inbox_id}", False, "update_inbox"),
            ("POST", "/v1/inboxes/{inbox_id}/pause", False, "pause_inbox"),
            ("GET", "/v1/inboxes/{inbox_id}/threads/{thread_id}/events", True, "list_thread_events"),
            ("PUT", "/v1/inboxes/{inbox_id}/messages/{message_id}/labels", False, "replace_message_labels"),
            ("DELETE", "/v1/api-keys/{key_id}", False, "delete_api_key"),
            ("GET", "/v1/usage", False, "get_usage"),
        ],
    )
    def test_it_names_operations_as_one_would(self, method: str, path: str, many: bool, name: str) -> None:
        assert operation_id(method, path, many) == name


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
class TestOperation:
    def test_it_says_what_it_is(self, path: str, method: str, operation: Any) -> None:
        assert operation["summary"]
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", operation["operationId"])
        assert set(operation["tags"]) <= {tag["name"] for tag in document()["tags"]}

    def test_it_needs_a_key_and_a_right(self, path: str, method: str, operation: Any) -> None:
        if path in KEYLESS:
            assert operation["security"] == []
        else:
            assert operation["security"] == [{"ApiKey": []}]
            assert operation["x-right"] in FULL
            assert f"`{operation['x-right']}`" in operation["description"]

    def test_it_shows_an_example_of_what_is_sent_and_answered(self, path: str, method: str, operation: Any) -> None:
        lacking = [place for place, body in media(operation) if "example" not in body]
        assert not lacking, "put @shown_as({…}) on these shapes"

    def test_its_examples_are_true(self, path: str, method: str, operation: Any) -> None:
        for place, body in media(operation):
            schema = {"components": document()["components"], **body["schema"]}
            errors = jsonschema_rs.Draft202012Validator(schema).iter_errors(body["example"])
            assert not [error.message for error in errors], place

    def test_it_has_the_errors_that_it_can_answer(self, path: str, method: str, operation: Any) -> None:
        expected = set() if path in KEYLESS else {"400", "401", "403", "429", "503"}
        expected |= {"404"} if "{" in path else set()
        expected |= {"413", "415"} if "requestBody" in operation else set()
        expected |= {"409"} if method == "post" else set()
        assert expected <= operation["responses"].keys()

    def test_its_errors_have_the_one_shape(self, path: str, method: str, operation: Any) -> None:
        codes = {str(status): code for code, status in STATUS.items()} | {"415": Code.INVALID_REQUEST}
        for status, response in operation["responses"].items():
            if status >= "400":
                example = resolved(response)["content"]["application/json"]["example"]["error"]
                assert example["code"] == codes[status]
                assert example.keys() >= {"message", "fix", "fields", "request_id"}

    def test_its_answers_have_the_headers(self, path: str, method: str, operation: Any) -> None:
        for status, response in operation["responses"].items():
            headers = resolved(response)["headers"]
            assert "X-Request-Id" in headers
            if operation["security"]:
                assert {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"} <= headers.keys()
            if method == "post" and status < "300":
                assert "Idempotent-Replayed" in headers

    def test_it_takes_an_idempotency_key_where_it_is_a_post(self, path: str, method: str, operation: Any) -> None:
        names = {resolved(parameter)["name"] for parameter in operation["parameters"]}
        assert ("Idempotency-Key" in names) == (method == "post")

    def test_its_ids_have_a_shape(self, path: str, method: str, operation: Any) -> None:
        placed = {one["name"]: one["schema"] for one in map(resolved, operation["parameters"]) if one["in"] == "path"}
        assert set(placed) == set(re.findall(r"{(\w+)}", path))
        assert all("pattern" in schema or "enum" in schema for schema in placed.values())

    def test_its_lists_can_be_paged_both_ways(self, path: str, method: str, operation: Any) -> None:
        for _, body in media(operation):
            if {"data", "meta"} <= body["schema"].get("properties", {}).keys():
                names = {resolved(parameter)["name"] for parameter in operation["parameters"]}
                assert {"page", "limit", "cursor"} <= names or operation["operationId"] in SEARCHES
