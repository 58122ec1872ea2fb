"""How many queries each route of /v1 asks the database, however much there is.

A test that fails shows the lines of the table as they are now. A query more wants a reason.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from audit.models import AuditEntry
from audit.sealing import seal_all
from delivery.inbound.process import process_inbound
from mailbot.api.renderers import dumps
from tests.cast import Caller
from tests.mailing import mail, store
from threads.models import Attachment, Message
from threads.search_index import index_batch

METHODS = ("get", "post", "put", "patch", "delete")
# In a transaction of the test, where that of the request shows as a savepoint and its release. The first finds the key.
QUERIES = {
    "GET /audit-log": 4,
    "GET /audit-log/verify": 14,
    "GET /audit-log/{entry_id}": 7,
    "POST /inboxes": 10,
    "GET /inboxes": 3,
    "GET /inboxes/{inbox_id}": 2,
    "PATCH /inboxes/{inbox_id}": 7,
    "DELETE /inboxes/{inbox_id}": 7,
    "POST /inboxes/{inbox_id}/pause": 7,
    "POST /inboxes/{inbox_id}/resume": 6,
    "GET /inboxes/{inbox_id}/messages": 5,
    "POST /inboxes/{inbox_id}/messages": 20,
    "GET /inboxes/{inbox_id}/messages/{message_id}": 3,
    "GET /inboxes/{inbox_id}/messages/{message_id}/explain": 3,
    "PUT /inboxes/{inbox_id}/messages/{message_id}/labels": 7,
    "GET /inboxes/{inbox_id}/messages/{message_id}/attachments/{attachment_id}": 4,
    "GET /inboxes/{inbox_id}/messages/{message_id}/raw": 4,
    "POST /inboxes/{inbox_id}/messages/{message_id}/reply": 25,
    "POST /inboxes/{inbox_id}/messages/{message_id}/forward": 25,
    "POST /inboxes/{inbox_id}/messages/{message_id}/cancel": 17,
    "GET /inboxes/{inbox_id}/threads": 4,
    "GET /inboxes/{inbox_id}/threads/{thread_id}": 4,
    "PATCH /inboxes/{inbox_id}/threads/{thread_id}": 6,
    "POST /inboxes/{inbox_id}/threads/{thread_id}/claim": 9,
    "POST /inboxes/{inbox_id}/threads/{thread_id}/release": 5,
    "POST /inboxes/{inbox_id}/threads/{thread_id}/handoff": 9,
    "GET /inboxes/{inbox_id}/threads/{thread_id}/events": 4,
    "GET /events": 3,
    "POST /inboxes/{inbox_id}/messages/search": 7,
    "GET /search": 7,
    "POST /api-keys": 6,
    "GET /api-keys": 2,
    "GET /api-keys/{key_id}": 2,
    "PATCH /api-keys/{key_id}": 8,
    "DELETE /api-keys/{key_id}": 6,
    "GET /lists/check": 2,
    "GET /lists/{direction}/{effect}": 3,
    "POST /lists/{direction}/{effect}": 8,
    "PUT /lists/{direction}/{effect}": 10,
    "DELETE /lists/{direction}/{effect}": 6,
    "GET /lists/{direction}/{effect}/{rule_id}": 2,
    "DELETE /lists/{direction}/{effect}/{rule_id}": 6,
    "GET /usage": 7,
    "POST /providers": 6,
    "GET /providers": 3,
    "GET /providers/{provider_id}": 2,
    "PATCH /providers/{provider_id}": 7,
    "DELETE /providers/{provider_id}": 11,
    "POST /providers/{provider_id}/test": 22,
}
# Lists that are counted only where they do not fit on a page.
COUNTED = {
    "GET /providers",
    "GET /audit-log",
    "GET /inboxes",
    "GET /inboxes/{inbox_id}/messages",
    "GET /inboxes/{inbox_id}/threads",
    "GET /inboxes/{inbox_id}/threads/{thread_id}/events",
    "GET /events",
    "GET /lists/{direction}/{effect}",
}
A_PAGE = 50
# What PostgreSQL is asked beyond that: it tells the time at which a mail is due or a lease over.
ON_POSTGRESQL = {
    "POST /providers/{provider_id}/test": 1,
    "POST /inboxes/{inbox_id}/messages": 1,
    "POST /inboxes/{inbox_id}/messages/{message_id}/reply": 2,
    "POST /inboxes/{inbox_id}/messages/{message_id}/forward": 1,
    "POST /inboxes/{inbox_id}/threads/{thread_id}/claim": 1,
    "POST /inboxes/{inbox_id}/threads/{thread_id}/release": 1,
    "POST /inboxes/{inbox_id}/threads/{thread_id}/handoff": 1,
}
PROVIDER = {"name": "Postmark", "esp": "postmark", "credentials": {"server_token": "secret"}}
# Of the routes that want one.
BODIES: dict[str, dict[str, Any]] = {
    "POST /inboxes": {"username": "support", "client_id": "support-1"},
    "PATCH /inboxes/{inbox_id}": {"display_name": "Support"},
    "POST /inboxes/{inbox_id}/messages": {"to": ["a@example.com", "b@example.com"], "subject": "Hello"},
    "PUT /inboxes/{inbox_id}/messages/{message_id}/labels": {"labels": ["urgent"]},
    "POST /inboxes/{inbox_id}/messages/{message_id}/reply": {"body_text": "Thank you"},
    "POST /inboxes/{inbox_id}/messages/{message_id}/forward": {"to": "a@example.com"},
    "PATCH /inboxes/{inbox_id}/threads/{thread_id}": {"status": "closed"},
    "POST /inboxes/{inbox_id}/messages/search": {"query": "question"},
    "POST /inboxes/{inbox_id}/threads/{thread_id}/handoff": {"to_agent": "another"},
    "POST /api-keys": {"name": "Another", "preset": "agent"},
    "PATCH /api-keys/{key_id}": {"name": "Another"},
    "POST /providers": PROVIDER,
    "PATCH /providers/{provider_id}": {"name": "Another"},
    "POST /providers/{provider_id}/test": {"to": "a@example.com"},
    "POST /lists/{direction}/{effect}": {"pattern": "another.example"},
    "PUT /lists/{direction}/{effect}": {"entries": ["another.example"]},
}
# Likewise what stands behind the `?`.
PARAMETERS = {
    "GET /search": "query=question",
    "GET /lists/check": "address=ann@blocked.example&direction=send",
    "DELETE /lists/{direction}/{effect}": "pattern=blocked.example",
}


def served() -> Iterator[str]:
    for entry in get_resolver().url_patterns:
        if isinstance(entry, URLResolver) and str(entry.pattern) == "v1/":
            for pattern in entry.url_patterns:
                assert isinstance(pattern, URLPattern)
                path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))
                view = pattern.callback.view_class  # type: ignore[attr-defined]
                yield from (f"{method.upper()} /{path}" for method in METHODS if hasattr(view, method))


def world(alice: Caller, size: int) -> dict[str, str]:
    """So many inboxes, and in one of them so many threads, one of which has so many messages, each with a file; the ids in it."""
    inbox, *_ = [alice.create_inbox() for _ in range(size)]
    store(mail(Message_ID="<first@example.com>", attachments={"a.txt": b"first"}), inbox)
    for number in range(size - 1):
        store(mail(In_Reply_To="<first@example.com>", attachments={"a.txt": b"reply %d" % number}), inbox)
        store(mail(Subject=f"Question {number}", attachments={"a.txt": b"question %d" % number}), inbox)
    waiting = alice.send(inbox, send_at=(timezone.now() + timedelta(days=1)).isoformat())
    while process_inbound() or index_batch():
        pass
    message = Message.objects.get(message_id_header="<first@example.com>")
    names = ["blocked.example", *(f"blocked-{number}.example" for number in range(size - 1))]
    listed = [alice.post("/v1/lists/send/block", {"pattern": name}).json()["data"] for name in names]
    live = alice.with_key(mode="live")
    live.create_inbox()
    seal_all()
    providers = [live.post("/v1/providers", PROVIDER).json()["data"]["id"] for _ in range(size)]
    return {
        "inbox_id": inbox.pk,
        "message_id": message.pk,
        "thread_id": message.thread_id,
        "attachment_id": Attachment.objects.get(message=message).pk,
        "key_id": alice.with_key().key.pk,
        "direction": "send",
        "effect": "block",
        "rule_id": listed[0]["id"],
        "entry_id": AuditEntry.objects.filter(inbox_id=inbox.pk).order_by("pk")[0].public_id,
        "provider_id": providers[0],
        "waiting_id": waiting["id"],
    }


def counted(caller: Caller, route: str, ids: dict[str, str]) -> int:
    """What the route asks; whatever it does is undone."""
    method, _, path = route.partition(" ")
    if path.endswith("/cancel"):
        ids = {**ids, "message_id": ids["waiting_id"]}
    with transaction.atomic():
        with CaptureQueriesContext(connection) as queries:
            answer = caller.client.generic(
                method,
                f"/v1{path.format(**ids)}?{PARAMETERS.get(route, '')}",
                dumps(BODIES.get(route, {})),
                content_type="application/json",
            )
        assert answer.status_code < 300, answer.content
        transaction.set_rollback(True)
    return len(queries)


def expected(route: str, size: int) -> int:
    more = ON_POSTGRESQL.get(route, 0) if connection.vendor == "postgresql" else 0
    return QUERIES[route] + more - (route in COUNTED and size <= A_PAGE)


class TestQueries:
    def test_it_knows_every_route(self) -> None:
        assert set(QUERIES) == set(served())

    @pytest.mark.parametrize("size", [1, A_PAGE + 1])
    def test_it_asks_as_many_however_much_there_is(self, alice: Caller, size: int) -> None:
        ids = world(alice, size)
        live = alice.with_key(mode="live")
        live.get("/v1/providers")  # the first use of a key is noted
        found = {route: counted(live if " /providers" in route else alice, route, ids) for route in QUERIES}
        other = [
            f'"{route}": {number},  # not {expected(route, size)}'
            for route, number in found.items()
            if number != expected(route, size)
        ]
        assert not other, "\n".join(["", *other])
