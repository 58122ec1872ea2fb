"""Holds answers against the OpenAPI schema: every test that calls the API by a `Caller` is a test of the schema too."""

import copy
import json
import re
from functools import cache
from typing import Any
from urllib.parse import quote

import jsonschema_rs
from django.test import Client

from mailbot.documentation import openapi_json

# Any path can answer these, and they belong to no operation: a method that there is not, a fault of ours.
OF_NO_OPERATION = {405, 500}


@cache
def document() -> dict[str, Any]:
    return dict(json.loads(openapi_json()))


@cache
def _closed() -> dict[str, Any]:
    """Answers may have no field that the schema does not name. It does not say so itself: more may come with time."""
    return dict(_close(copy.deepcopy({"components": document()["components"], "paths": document()["paths"]})))


def _close(part: Any) -> Any:
    if isinstance(part, dict):
        if part.get("type") == "object" and "properties" in part:
            part.setdefault("additionalProperties", False)
        for inner in part.values():
            _close(inner)
    elif isinstance(part, list):
        for inner in part:
            _close(inner)
    return part


@cache
def _routes() -> list[tuple[re.Pattern[str], str]]:
    """Those without an id first: `/messages/wait` is no message."""
    paths = sorted(document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in paths]


@cache
def _validator(pointer: str) -> Any:
    return jsonschema_rs.Draft202012Validator({**_closed(), "$ref": pointer})


def route_of(path: str) -> str | None:
    """The path as the schema has it, with `{inbox_id}`; None for one that is not in it."""
    return next((route for pattern, route in _routes() if pattern.fullmatch(path)), None)


def complaint(method: str, path: str, answer: Any) -> str:
    """What is wrong with an answer of /v1: "" for nothing."""
    operation = _operation(method, path)
    if operation is None or answer.status_code in OF_NO_OPERATION:
        pointer = "#/components/responses/NotFound"
        responses: dict[str, Any] = {}
        known = answer.status_code >= 400
    else:
        route, responses = operation
        pointer = f"#/paths/{quote(route.replace('/', '~1'))}/{method.lower()}/responses/{answer.status_code}"
        known = str(answer.status_code) in responses
    if not known:
        return f"{method} {path} answers {answer.status_code}, which is not in the schema: {answer.content[:500]!r}"
    if "X-Request-Id" not in answer.headers:
        return f"{method} {path} answers without X-Request-Id"
    return _complaint_of_body(method, path, answer, pointer, responses.get(str(answer.status_code)))


def _operation(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    route = route_of(path)
    operation = document()["paths"][route].get(method.lower()) if route else None
    return None if route is None or operation is None else (route, operation["responses"])


def _complaint_of_body(method: str, path: str, answer: Any, pointer: str, response: dict[str, Any] | None) -> str:
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    if response is None:  # an error of no operation
        pointer = "#/components/schemas/Error"
        errors = _validator(pointer).iter_errors(answer.json()["error"]) if kind == "application/json" else ()
    else:
        if "$ref" in response:
            pointer = response["$ref"]
            response = document()["components"]["responses"][pointer.rpartition("/")[2]]
        if kind not in response.get("content", {}):
            return "" if not answer.content and "content" not in response else f"{method} {path} answers as {kind}"
        if kind != "application/json":
            return ""
        errors = _validator(f"{pointer}/content/application~1json/schema").iter_errors(answer.json())
    told = [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in errors]
    return f"{method} {path} answers {answer.status_code} against its schema: {told[:5]}" if told else ""


class CheckedClient(Client):
    """Django's client, for which an answer against the schema is a failed test."""

    def request(self, **request: Any) -> Any:
        answer = super().request(**request)
        method, path = answer.request["REQUEST_METHOD"], answer.request["PATH_INFO"]
        if path.startswith("/v1/") and method not in ("HEAD", "OPTIONS", "TRACE") and not answer.streaming:
            assert not (wrong := complaint(method, path, answer)), wrong
        return answer
