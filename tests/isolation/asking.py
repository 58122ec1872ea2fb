"""From an operation and the ids in its slots to an answer, whoever of the server gives it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from tests.contract import CheckedClient, complaint
from tests.isolation.slots import Operation, Place, Slot
from threads import waiting
from threads.api import wait

LIST = {"direction": "receive", "effect": "block"}
WORDS = LIST | {"event": "delivered"}  # of paths, where they are no ids
PATTERN = "blocked.example"
SUPPRESSED = "suppressed@shop.example"
# What an operation needs beside ids, so that it succeeds for whose ids they are.
QUERIES: dict[str, dict[str, str]] = {
    "GET /v1/inboxes/{inbox_id}/messages/wait": {"timeout_ms": "0"},
    "GET /v1/lists/check": {"address": "ann@example.com", "direction": "send"},
    "DELETE /v1/lists/{direction}/{effect}": {"pattern": PATTERN},
    "GET /v1/compliance/check": {"domain": "example.com"},
    "GET /v1/search": {"query": "secret"},
    "DELETE /v1/suppressions": {"address": SUPPRESSED},
    "GET /v1/suppressions/check": {"address": SUPPRESSED},
}
BODIES: dict[str, dict[str, Any]] = {
    "POST /v1/api-keys": {"name": "Another", "preset": "read-only"},
    "PATCH /v1/api-keys/{key_id}": {"name": "Changed"},
    "PATCH /v1/inboxes/{inbox_id}": {"display_name": "Changed"},
    "POST /v1/inboxes/{inbox_id}/messages": {"to": "customer@example.com", "subject": "New", "body_text": "New"},
    "POST /v1/inboxes/{inbox_id}/messages/search": {"query": "secret"},
    "PUT /v1/inboxes/{inbox_id}/messages/{message_id}/labels": {"labels": ["changed"]},
    "POST /v1/inboxes/{inbox_id}/messages/{message_id}/reply": {"body_text": "New"},
    "POST /v1/inboxes/{inbox_id}/messages/{message_id}/cancel": {"reason": "Cancelled."},
    "POST /v1/inboxes/{inbox_id}/messages/{message_id}/forward": {"to": "customer@example.com"},
    "PATCH /v1/inboxes/{inbox_id}/threads/{thread_id}": {"labels": ["changed"]},
    "POST /v1/inboxes/{inbox_id}/threads/{thread_id}/handoff": {"to_agent": "another", "seconds": 1},
    "POST /v1/inboxes/{inbox_id}/threads/{thread_id}/release": {"agent": "another"},
    "POST /v1/holds": {"matter": "Smith v. Shop", "reason": "because"},
    "POST /v1/holds/{hold_id}/release": {"reason": "because"},
    "POST /v1/retention-classes": {"name": "Another"},
    "PUT /v1/retention-classes/{retention_class_id}": {"name": "Changed"},
    "PATCH /v1/retention-classes/{retention_class_id}": {"name": "Changed"},
    "POST /v1/domains": {"domain": "another.example"},
    "PATCH /v1/domains/{domain_id}": {"inbox_subdomains": True},
    "POST /v1/providers": {"name": "Another", "esp": "postmark", "credentials": {"server_token": "secret"}},
    "PATCH /v1/providers/{provider_id}": {"name": "Changed"},
    "POST /v1/providers/{provider_id}/test": {"to": "customer@example.com"},
    "POST /v1/simulate/late": {"event": "opened"},
    "POST /v1/simulate/doubled": {"event": "opened"},
    "POST /v1/lists/{direction}/{effect}": {"pattern": "new.example"},
    "PUT /v1/lists/{direction}/{effect}": {"entries": ["new.example"]},
    "POST /v1/suppressions": {"address": "new@shop.example"},
    "PUT /v1/suppressions": {"address": "new@shop.example"},
    "POST /v1/audit-log/exports": {"reason": "because"},
    "POST /v1/erasures": {"address": "nobody@shop.example", "reason": "because", "dry_run": True},
    "POST /v1/suppressions/import": {"content": "new@shop.example"},
}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status_code(self) -> int:
        return self.status

    @property
    def is_success(self) -> bool:
        return self.status < 300

    @property
    def lists_something(self) -> bool:
        """Rows in `data`, or below the first line of CSV."""
        if "csv" in self.headers.get("Content-Type", ""):
            return self.content.count(b"\n") > 1
        if "jsonl" in self.headers.get("Content-Type", ""):
            return bool(self.content)
        return bool(self.json()["data"])

    def json(self) -> Any:
        return json.loads(self.content)


def ask(operation: Operation, values: Mapping[Slot, Any], authorization: str, **more: str) -> Answer:
    """Call the operation with these ids in its slots, and `more` in its query or body."""
    named = {place: {s.name: v for s, v in values.items() if s.place is place} for place in Place}
    path = operation.path.format(**{**WORDS, **named[Place.PATH]})
    query = {**QUERIES.get(str(operation), {}), **named[Place.QUERY]}
    body = dict(BODIES.get(str(operation), {}))
    if str(operation) == "POST /v1/domains" and named[Place.HEADER]:  # the first such request is not undone
        body["domain"] = "another-once.example"
    if str(operation) == "POST /v1/retention-classes" and named[Place.HEADER]:
        body["name"] = "Another, once"
    for name, value in named[Place.BODY].items():
        _put(body, name, value)
    if operation.method == "GET":
        query |= more
    else:
        body |= more
    headers = {"Authorization": authorization} if authorization else {}
    return _sent(operation.method, f"{path}?{urlencode(query)}", body, headers | named[Place.HEADER])


def _put(body: dict[str, Any], name: str, value: Any) -> None:
    head, inside, rest = name.partition("[].")
    if inside:
        inner: dict[str, Any] = {}
        _put(inner, rest, value)
        body[head] = [inner]
    elif name.endswith("[]"):
        body[name.removesuffix("[]")] = [value]
    else:
        body[name] = value


def _sent(method: str, url: str, body: dict[str, Any], headers: dict[str, str]) -> Answer:
    if wait.PATH.fullmatch(urlsplit(url).path):
        return async_to_sync(_waited)(method, url, headers)
    client = CheckedClient(raise_request_exception=False)
    content = json.dumps(body) if method not in ("GET", "DELETE") else ""
    answer = client.generic(method, url, content, content_type="application/json", headers=headers)
    sent = b"".join(answer) if answer.streaming else answer.content
    return Answer(answer.status_code, sent, answer.headers)


async def _waited(method: str, url: str, headers: dict[str, str]) -> Answer:
    """Waits are answered beside Django."""
    parts, sent = urlsplit(url), []
    named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": parts.path, "query_string": parts.query.encode()}

    async def send(message: Any) -> None:
        sent.append(message)

    await wait.wait_application({**scope, "headers": named, "client": ("127.0.0.1", 1)}, _never, send)
    told = {name.decode().title(): value.decode() for name, value in sent[0]["headers"]}
    answer = Answer(sent[0]["status"], sent[1]["body"], told)
    assert not (wrong := complaint(method, parts.path, answer)), wrong
    return answer


async def _never() -> Any:
    raise TimeoutError  # the client neither leaves nor says more, and time is over


class InThisThread:
    """Looks where the test's transaction is (threads.lookers.Lookers would in threads of its own)."""

    async def run(self, look: Any) -> Any:
        return await sync_to_async(look, thread_sensitive=True)()


class SilentChannel:
    async def listen(self, wake: Any) -> None:
        """Nobody wakes a wait that has no time."""


def look_within_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "_admitters", InThisThread())
    monkeypatch.setattr(wait, "_looker", InThisThread())
    monkeypatch.setattr(waiting, "channel", SilentChannel)
