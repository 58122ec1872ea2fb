"""Every route of the API and every address without a key: what changes state or shows mail leaves an entry that names who did it.

They are taken from what is registered, as are the pages of the console (test_every_page.py), tasks (test_every_task.py) and commands
(test_every_command.py). One that is new fails until it is shown to leave an entry, or stands in one of the lists with the reason why none
is due. Whether something changes state is seen in the SQL that it sends (scenes.py).
"""

import json
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.test import Client
from django.urls import get_resolver

from audit.acts import names_of_acts
from delivery.engagement.tokens import CLICK, OPEN, token
from delivery.unsubscribing import Link, token_of
from inboxes.models import Provider
from mailbot.api.renderers import dumps
from mailbot.documentation import BESIDE_DJANGO
from tests.audit.scenes import Idle, Seen, Stage, looked_at, not_idle
from tests.cast import Caller
from tests.dns_zone import PublishedZone
from tests.mailbot.api.test_queries import BODIES, PARAMETERS, QUERIES, filled, served, world

UNSUBSCRIBE = "u/<str:token>"
HOOK = "hooks/<str:provider_id>/<str:token>/<str:kind>"
PIXEL, LINK = "t/o/<str:token>.gif", "t/c/<str:token>"

# Reads that show mail or the trail → the act that tells of them.
READS = {
    "GET /audit-log": "audit.read",
    "GET /audit-log/{entry_id}": "audit.read",
    "GET /audit-log/export": "trail.streamed",
    "GET /inboxes/{inbox_id}/messages": "message.listed",
    "GET /inboxes/{inbox_id}/messages/{message_id}": "message.read",
    "GET /inboxes/{inbox_id}/messages/{message_id}/explain": "message.read",
    "GET /inboxes/{inbox_id}/messages/{message_id}/attachments/{attachment_id}": "attachment.read",
    "GET /inboxes/{inbox_id}/messages/{message_id}/raw": "raw.read",
    "GET /inboxes/{inbox_id}/threads": "thread.listed",
    "GET /inboxes/{inbox_id}/threads/{thread_id}": "thread.read",
    "POST /inboxes/{inbox_id}/messages/search": "search.done",
    "GET /search": "search.done",
    "GET /suppressions/export": "suppression.exported",
}
# Other routes that change nothing. docs/audit/recorded.md says the same to its readers.
NO_MAIL = "It shows configuration or figures, and nothing that a mail says."
NOTHING_HELD = "It answers what was asked about by name, and holds nothing that is not in the question."
NOT_RECORDED = {
    "GET /audit-log/verify": "It shows hashes and findings, and no entry.",
    "GET /audit-log/exports": "It shows which bundles were asked for; making and downloading one is recorded.",
    "GET /audit-log/exports/{export_id}": "As the list.",
    "GET /events": "Events name messages, recipients and states; whoever wants the mail reads it, which is recorded.",
    "GET /inboxes/{inbox_id}/threads/{thread_id}/events": "As GET /events.",
    "GET /inboxes": NO_MAIL,
    "GET /inboxes/{inbox_id}": NO_MAIL,
    "GET /inboxes/{inbox_id}/retention": NO_MAIL,
    "GET /api-keys": NO_MAIL,
    "GET /api-keys/{key_id}": NO_MAIL,
    "GET /lists/check": NOTHING_HELD,
    "GET /lists/{direction}/{effect}": NO_MAIL,
    "GET /lists/{direction}/{effect}/{rule_id}": NO_MAIL,
    "GET /suppressions": NO_MAIL,
    "GET /suppressions/check": NOTHING_HELD,
    "GET /suppressions/{suppression_id}": NO_MAIL,
    "GET /engagement/events": NO_MAIL,
    "GET /engagement/stats": NO_MAIL,
    "GET /engagement/messages/{message_id}": NO_MAIL,
    "GET /usage": NO_MAIL,
    "GET /compliance/check": NOTHING_HELD,
    "GET /compliance/readiness/{inbox_id}": NO_MAIL,
    "GET /holds": NO_MAIL,
    "GET /holds/{hold_id}": NO_MAIL,
    "GET /retention-classes": NO_MAIL,
    "GET /retention-classes/{retention_class_id}": NO_MAIL,
    "GET /domains": NO_MAIL,
    "GET /domains/{domain_id}": NO_MAIL,
    "GET /domains/{domain_id}/zone-file": NO_MAIL,
    "GET /erasures": "It shows who asked for what, and persons by pseudonym.",
    "GET /erasures/{erasure_id}": "As the list.",
    "GET /providers": NO_MAIL,
    "GET /providers/{provider_id}": NO_MAIL,
}
# What is done before it, so that there is something to do.
FIRST = {
    "POST /inboxes/{inbox_id}/resume": ["/inboxes/{inbox_id}/pause"],
    "POST /inboxes/{inbox_id}/threads/{thread_id}/release": ["/inboxes/{inbox_id}/threads/{thread_id}/claim"],
}
# Addresses without a key or a session that leave no entry, and the tables that they write to.
OF_AN_EVENT = frozenset({"threads_event", "threads_dailyevents"})
PUBLIC = {
    "": Idle("It leads to the console."),
    "healthz": Idle("It shows no row."),
    "readyz": Idle("It shows no row."),
    "metrics": Idle("Figures."),
    "docs/": Idle("The document of the API."),
    "v1/openapi.json": Idle("The document of the API."),
    HOOK: Idle(
        "It stores what an ESP calls with; working on it leaves entries (test_every_task.py).",
        frozenset({"delivery_providerevent", "inboxes_provider"}),
    ),
    f"{HOOK}/mime": Idle("The same view, by another name for Mailgun.", words=None),
    PIXEL: Idle("It counts an opening: an event of the message, by nobody who is known.", OF_AN_EVENT),
    LINK: Idle("It counts a click, likewise.", OF_AN_EVENT),
    "^v1/.*$": Idle("404.", words=None),
}


def asked(caller: Caller, route: str, ids: dict[str, str]) -> Seen:
    method, _, path = route.partition(" ")
    if path.endswith("/cancel"):
        ids = {**ids, "message_id": ids["waiting_id"]}
    with transaction.atomic():
        for before in FIRST.get(route, ()):
            assert caller.post(f"/v1{before.format(**ids)}").status_code < 300
        seen = called(caller, method, path, route, ids)
        transaction.set_rollback(True)
    return seen


def called(caller: Caller, method: str, path: str, route: str, ids: dict[str, str]) -> Seen:
    with looked_at() as seen:
        answer = caller.client.generic(
            method,
            f"/v1{path.format(**ids)}?{PARAMETERS.get(route, '').format(**ids)}",
            dumps(filled(BODIES.get(route, {}), ids)),
            content_type="application/json",
        )
        assert answer.status_code < 300, answer.content
    return seen


def publish(caller: Caller, domain_id: str, dns: PublishedZone) -> None:
    """So that a check finds something new."""
    dns.publish(caller.get(f"/v1/domains/{domain_id}").json()["data"]["dns_records"])


class TestRoutes:
    def test_each_that_changes_state_or_shows_mail_leaves_an_entry_of_the_key(
        self, alice: Caller, dns: PublishedZone
    ) -> None:
        ids = world(alice, 1)
        live = alice.with_key(mode="live")
        live.get("/v1/providers")  # the first use of a key is noted
        publish(alice, ids["domain_id"], dns)
        wrong = {}
        for route in served():
            caller = live if route.partition(" /")[2].startswith(("providers", "erasures")) else alice
            seen = asked(caller, route, ids)
            if route in READS:
                right = READS[route] in seen.acts and not seen.changed
            elif route in NOT_RECORDED:
                right = not seen.changed
            else:
                right = bool(seen.changed) and bool(seen.entries)
            named_ = all(entry.actor_kind == "api_key" and entry.actor_id == caller.key.pk for entry in seen.entries)
            if not right or not named_:
                wrong[route] = (seen.changed, [(entry.act, entry.actor_kind) for entry in seen.entries])
        assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())

    def test_beside_django_there_is_the_wait_alone(self) -> None:
        """It needs an event loop and has its own test: tests/threads/api/test_wait.py looks for `wait.answered` and the key in it."""
        assert [str(entry.pattern) for entry in BESIDE_DJANGO] == ["v1/inboxes/<str:inbox_id>/messages/wait"]

    def test_its_lists_name_no_route_that_is_gone(self) -> None:
        assert READS.keys() | NOT_RECORDED.keys() <= QUERIES.keys()
        assert set(READS.values()) <= set(names_of_acts())


def with_links(stage: Stage) -> dict[str, Callable[[], Any]]:
    """How a stranger calls the addresses that hold a secret, of a mail that was sent."""
    message_id = stage.alice.send(stage.inbox, to="ann@shop.example")["id"]
    provider = Provider.objects.create(account=stage.account, name="Postmark", esp="postmark")
    provider.credentials = {"server_token": "secret"}
    provider.save()
    hook, told = f"/hooks/{provider.pk}/{provider.token}/tracking", {"RecordType": "Delivery", "MessageID": "the-id"}
    unsubscribe = f"/u/{token_of(Link(stage.inbox.pk, message_id, 'ann@shop.example'))}"
    client = Client()
    return {
        HOOK: lambda: client.post(hook, json.dumps(told), content_type="application/json"),
        PIXEL: lambda: client.get(f"/t/o/{token(OPEN, message_id)}.gif"),
        LINK: lambda: client.get(f"/t/c/{token(CLICK, message_id, 'https://shop.example/')}"),
        UNSUBSCRIBE: lambda: client.post(unsubscribe, {"List-Unsubscribe": "One-Click"}),
    }


class TestWithoutAKey:
    def test_each_has_a_place_here(self) -> None:
        found = [str(entry.pattern) for entry in get_resolver().url_patterns]
        assert set(found) - {"admin/", "v1/"} == PUBLIC.keys() | {UNSUBSCRIBE}

    def test_who_has_the_link_of_a_mail_unsubscribes(self, stage: Stage) -> None:
        call = with_links(stage)[UNSUBSCRIBE]
        with looked_at() as seen:
            assert call().status_code == 200
        assert (seen.acts, seen.actors) == ({"suppression.added"}, {("system", "unsubscribe")})

    def test_what_is_nobodys_act_writes_to_no_other_table(self, stage: Stage) -> None:
        ran, calls = {}, with_links(stage)
        client = Client(headers={"Authorization": f"Bearer {stage.settings.METRICS_TOKEN}"})
        for pattern, idle in PUBLIC.items():
            if idle.words is not None:
                with looked_at() as ran[pattern]:
                    answer = calls[pattern]() if pattern in calls else client.get(f"/{pattern}")
                    assert answer.status_code in (200, 302, 503), (pattern, answer.content)  # it may not be ready
        assert not_idle(PUBLIC, ran) == {}
