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

from audit.models import AuditEntry, Export
from audit.sealing import seal_all
from delivery.models import Erasure
from inboxes.holds import place
from inboxes.models import LegalHold, RetentionClass
from inboxes.retention_classes import make_class
from mailbot.api.renderers import dumps
from tests.audit.bundles import ask, make
from tests.cast import Caller, run_workers
from tests.delivery.erasing.traces import erase
from tests.dns_zone import PublishedZone, add_domain
from tests.mailing import mail, store
from threads.models import Attachment, Message
from threads.search_index import index_batch

OF_LIVE = re.compile(r" /(?:providers|erasures)")
METHODS = ("get", "post", "put", "patch", "delete")
# In a transaction of the test, where that of the request shows as a savepoint and its release. The first finds the key.
QUERIES = {
    "GET /audit-log": 5,
    "GET /audit-log/verify": 14,
    "GET /audit-log/{entry_id}": 8,
    "GET /audit-log/export": 3,
    "GET /audit-log/exports": 3,
    "POST /audit-log/exports": 7,
    "GET /audit-log/exports/{export_id}": 2,
    "GET /audit-log/exports/{export_id}/download": 6,
    "POST /inboxes": 12,
    "GET /inboxes": 4,
    "GET /inboxes/{inbox_id}": 3,
    "PATCH /inboxes/{inbox_id}": 8,
    "DELETE /inboxes/{inbox_id}": 11,
    "GET /inboxes/{inbox_id}/retention": 4,
    "POST /inboxes/{inbox_id}/pause": 8,
    "POST /inboxes/{inbox_id}/resume": 7,
    "GET /inboxes/{inbox_id}/messages": 6,
    "POST /inboxes/{inbox_id}/messages": 23,
    "GET /inboxes/{inbox_id}/messages/{message_id}": 4,
    "GET /inboxes/{inbox_id}/messages/{message_id}/explain": 4,
    "PUT /inboxes/{inbox_id}/messages/{message_id}/labels": 7,
    "GET /inboxes/{inbox_id}/messages/{message_id}/attachments/{attachment_id}": 5,
    "GET /inboxes/{inbox_id}/messages/{message_id}/raw": 5,
    "POST /inboxes/{inbox_id}/messages/{message_id}/reply": 28,
    "POST /inboxes/{inbox_id}/messages/{message_id}/forward": 28,
    "POST /inboxes/{inbox_id}/messages/{message_id}/cancel": 17,
    "GET /inboxes/{inbox_id}/threads": 5,
    "GET /inboxes/{inbox_id}/threads/{thread_id}": 5,
    "PATCH /inboxes/{inbox_id}/threads/{thread_id}": 6,
    "POST /inboxes/{inbox_id}/threads/{thread_id}/claim": 9,
    "POST /inboxes/{inbox_id}/threads/{thread_id}/release": 5,
    "POST /inboxes/{inbox_id}/threads/{thread_id}/handoff": 9,
    "GET /inboxes/{inbox_id}/threads/{thread_id}/events": 4,
    "GET /events": 3,
    "POST /inboxes/{inbox_id}/messages/search": 8,
    "GET /search": 8,
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
    "GET /suppressions": 3,
    "POST /suppressions": 7,
    "PUT /suppressions": 7,
    "DELETE /suppressions": 6,
    "GET /suppressions/check": 3,
    "POST /suppressions/import": 10,
    "GET /suppressions/export": 3,
    "GET /suppressions/{suppression_id}": 2,
    "DELETE /suppressions/{suppression_id}": 6,
    "POST /erasures": 38,  # a hold is in force: whatever belongs to an inbox is looked at
    "GET /erasures": 3,
    "GET /erasures/{erasure_id}": 2,
    "GET /erasures/{erasure_id}/certificate": 6,
    "GET /engagement/events": 2,
    "GET /engagement/stats": 2,
    "GET /engagement/messages/{message_id}": 3,
    "GET /usage": 7,
    "GET /compliance/check": 3,
    "GET /compliance/readiness/{inbox_id}": 6,
    "POST /simulate/received": 10,
    "POST /simulate/late": 15,
    "POST /simulate/doubled": 10,
    "POST /simulate/{event}": 26,
    "POST /holds": 7,
    "GET /holds": 3,
    "GET /holds/{hold_id}": 2,
    "POST /holds/{hold_id}/release": 7,
    "POST /retention-classes": 8,
    "GET /retention-classes": 3,
    "GET /retention-classes/{retention_class_id}": 2,
    "PUT /retention-classes/{retention_class_id}": 9,
    "PATCH /retention-classes/{retention_class_id}": 9,
    "DELETE /retention-classes/{retention_class_id}": 10,
    "POST /domains": 16,
    "GET /domains": 5,
    "GET /domains/{domain_id}": 4,
    "PATCH /domains/{domain_id}": 8,
    "DELETE /domains/{domain_id}": 13,
    "POST /domains/{domain_id}/verify": 17,
    "POST /domains/{domain_id}/rotate-key": 13,
    "GET /domains/{domain_id}/zone-file": 4,
    "POST /providers": 6,
    "GET /providers": 3,
    "GET /providers/{provider_id}": 2,
    "PATCH /providers/{provider_id}": 7,
    "DELETE /providers/{provider_id}": 12,
    "POST /providers/{provider_id}/test": 26,
}
# Lists that are counted only where they do not fit on a page.
COUNTED = {
    "GET /holds",
    "GET /retention-classes",
    "GET /domains",
    "GET /suppressions",
    "GET /providers",
    "GET /erasures",
    "GET /audit-log",
    "GET /audit-log/exports",
    "GET /inboxes",
    "GET /inboxes/{inbox_id}/messages",
    "GET /inboxes/{inbox_id}/threads",
    "GET /inboxes/{inbox_id}/threads/{thread_id}/events",
    "GET /events",
    "GET /lists/{direction}/{effect}",
}
A_PAGE = 50
# What PostgreSQL is asked beyond that: it tells the time at which a mail is due or a lease over, and keeps removals apart from holds and
# from mail that needs the same files.
ON_POSTGRESQL = {
    "DELETE /inboxes/{inbox_id}": 1,
    "POST /holds": 1,
    "POST /providers/{provider_id}/test": 1,
    "POST /inboxes/{inbox_id}/messages": 1,
    "POST /inboxes/{inbox_id}/messages/{message_id}/reply": 2,
    "POST /inboxes/{inbox_id}/messages/{message_id}/forward": 2,
    "POST /inboxes/{inbox_id}/threads/{thread_id}/claim": 1,
    "POST /inboxes/{inbox_id}/threads/{thread_id}/release": 1,
    "POST /inboxes/{inbox_id}/threads/{thread_id}/handoff": 1,
}
# There the trail is kept by months (audit.lookups): of many keys it asks first where they are, and a page that the last month does not fill
# is asked of all of them.
OF_MANY = {"GET /audit-log/verify": 2}
OF_FEW = {"GET /audit-log": 1}
PROVIDER = {"name": "Postmark", "esp": "postmark", "credentials": {"server_token": "secret"}}
# Of the routes that want one.
BODIES: dict[str, dict[str, Any]] = {
    "POST /simulate/received": {"inbox_id": "{inbox_id}", "reply_to_message_id": "{message_id}", "body_text": "Hello"},
    "POST /simulate/late": {"message_id": "{sent_id}", "event": "delivered"},
    "POST /simulate/doubled": {"message_id": "{message_id}"},
    "POST /simulate/{event}": {"message_id": "{sent_id}"},
    "POST /holds": {"inbox_id": "{inbox_id}", "matter": "Smith v. Shop", "reason": "A claim"},
    "POST /holds/{hold_id}/release": {"reason": "Settled"},
    "POST /retention-classes": {"name": "Long", "content_days": 3650},
    "PUT /retention-classes/{retention_class_id}": {"name": "Longer", "content_days": 7300},
    "PATCH /retention-classes/{retention_class_id}": {"raw_days": 90},
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
    "POST /domains": {"domain": "another.example"},
    "PATCH /domains/{domain_id}": {"inbox_subdomains": True},
    "POST /providers": PROVIDER,
    "PATCH /providers/{provider_id}": {"name": "Another"},
    "POST /providers/{provider_id}/test": {"to": "a@example.com"},
    "POST /lists/{direction}/{effect}": {"pattern": "another.example"},
    "PUT /lists/{direction}/{effect}": {"entries": ["another.example"]},
    "POST /suppressions": {"address": "another@shop.example"},
    "PUT /suppressions": {"address": "another@shop.example"},
    "POST /audit-log/exports": {"reason": "because", "inbox_id": "{inbox_id}"},
    "POST /suppressions/import": {"content": "another@shop.example"},
    "POST /erasures": {"address": "another@shop.example", "reason": "because"},
}
# Likewise what stands behind the `?`.
PARAMETERS = {
    "GET /compliance/check": "domain=example.com",
    "GET /search": "query=question",
    "GET /lists/check": "address=ann@blocked.example&direction=send",
    "DELETE /lists/{direction}/{effect}": "pattern=blocked.example",
    "GET /suppressions/check": "address=carol0@shop.example&inbox_id={inbox_id}",
    "DELETE /suppressions": "address=carol0@shop.example",
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
    sent = alice.send(inbox)
    run_workers()
    while index_batch():
        pass
    message = Message.objects.get(message_id_header="<first@example.com>")
    names = ["blocked.example", *(f"blocked-{number}.example" for number in range(size - 1))]
    listed = [alice.post("/v1/lists/send/block", {"pattern": name}).json()["data"] for name in names]
    people = [f"carol{number}@shop.example" for number in range(size)]
    suppressed = [alice.post("/v1/suppressions", {"address": person}).json()["data"] for person in people]
    live = alice.with_key(mode="live")
    live.create_inbox()
    seal_all()
    providers = [live.post("/v1/providers", PROVIDER).json()["data"]["id"] for _ in range(size)]
    domains = [add_domain(alice, f"shop-{number}.example")["id"] for number in range(size)]
    held = alice.create_inbox()
    hold = place(alice.account, inbox=held, matter="Case", reason="A claim")
    retention = make_class(alice.account, {"name": "Class"})
    others = range(size - 1)
    LegalHold.objects.bulk_create(LegalHold(account=alice.account, inbox=held, matter=f"{n}") for n in others)
    RetentionClass.objects.bulk_create(RetentionClass(account=alice.account, name=f"{n}") for n in others)
    exports = [ask(alice)["id"]]
    make()
    Export.objects.bulk_create(
        Export(account_id=alice.account.pk, mode="test", status="done", actor_kind="system") for _ in range(size - 1)
    )
    erased = erase(live, "dave@shop.example")["id"]
    Erasure.objects.bulk_create(
        Erasure(account_id=alice.account.pk, person=f"person_{number}", state="done", actor_kind="system")
        for number in range(size - 1)
    )
    return {
        "erasure_id": erased,
        "hold_id": hold.pk,
        "retention_class_id": retention.pk,
        "domain_id": domains[0],
        "export_id": exports[0],
        "inbox_id": inbox.pk,
        "message_id": message.pk,
        "thread_id": message.thread_id,
        "attachment_id": Attachment.objects.get(message=message).pk,
        "key_id": alice.with_key().key.pk,
        "sent_id": sent["id"],
        "event": "bounced",
        "direction": "send",
        "effect": "block",
        "rule_id": listed[0]["id"],
        "suppression_id": suppressed[0]["id"],
        "entry_id": AuditEntry.objects.filter(inbox_id=inbox.pk).order_by("pk")[0].public_id,
        "provider_id": providers[0],
        "waiting_id": waiting["id"],
    }


def filled(body: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    """Where a value of it is the name of an id, with that id."""
    return {name: ids.get(value[1:-1], value) if isinstance(value, str) else value for name, value in body.items()}


def counted(caller: Caller, route: str, ids: dict[str, str]) -> int:
    """What the route asks; whatever it does is undone."""
    method, _, path = route.partition(" ")
    if path.endswith("/cancel"):
        ids = {**ids, "message_id": ids["waiting_id"]}
    with transaction.atomic():
        with CaptureQueriesContext(connection) as queries:
            answer = caller.client.generic(
                method,
                f"/v1{path.format(**ids)}?{PARAMETERS.get(route, '').format(**ids)}",
                dumps(filled(BODIES.get(route, {}), ids)),
                content_type="application/json",
            )
        assert answer.status_code < 300, answer.content
        transaction.set_rollback(True)
    return len(queries)


def expected(route: str, size: int) -> int:
    by_size = OF_MANY if size > A_PAGE else OF_FEW
    more = ON_POSTGRESQL.get(route, 0) + by_size.get(route, 0) if connection.vendor == "postgresql" else 0
    return QUERIES[route] + more - (route in COUNTED and size <= A_PAGE)


class TestQueries:
    def test_it_knows_every_route(self) -> None:
        assert set(QUERIES) == set(served())

    @pytest.mark.parametrize("size", [1, A_PAGE + 1])
    def test_it_asks_as_many_however_much_there_is(self, alice: Caller, dns: PublishedZone, size: int) -> None:
        ids = world(alice, size)
        live = alice.with_key(mode="live")
        live.get("/v1/providers")  # the first use of a key is noted
        found = {route: counted(live if OF_LIVE.search(route) else alice, route, ids) for route in QUERIES}
        other = [
            f'"{route}": {number},  # not {expected(route, size)}'
            for route, number in found.items()
            if number != expected(route, size)
        ]
        assert not other, "\n".join(["", *other])
