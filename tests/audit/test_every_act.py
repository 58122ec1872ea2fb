"""Every route, button, form, command and task of the whole system: what changes state leaves an entry that names an actor.

They are taken from what is registered. One that is new fails here until it is shown to leave an entry, or stands in one of the lists below
with the reason why none is due. Whether something changes state is seen in the SQL that it sends.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.contrib import admin
from django.core.management import get_commands
from django.db import connection, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.acts import names_of_acts
from audit.models import AuditEntry
from mailbot.api.renderers import dumps
from tests.cast import Caller, run_workers
from tests.console import act, console, person
from tests.dns_zone import PublishedZone
from tests.inboxes.test_console_roles import MATRIX, PAGES, World, add_page, make_ready, named
from tests.mailbot.api.test_queries import BODIES, PARAMETERS, QUERIES, filled, served, world

ROOT = Path(__file__).parents[2]
OURS = ("audit", "delivery", "inboxes", "mailbot", "threads")

# Tables whose rows say nothing that anybody did: what is written there alone is no change of state. Each with the reason.
BOOKKEEPING = {
    "audit_auditentry": "the entry itself",
    "audit_auditunsealed": "its place in the queue of the sealer",
    "threads_searchdocument": "an index over messages, made anew from them",
    "threads_searchprogress": "how far that index is",
    "inboxes_keptanswer": "the answer to a request, which has its own entry",
    "inboxes_dailyusage": "counters",
    "delivery_recentsend": "what a send is compared with when it is tried again",
    "delivery_heartbeat": "that a worker lives",
    "django_session": "a browser's session; signing in has its own entry",
}

# Reads that show mail or the trail → the act that tells of them.
READS = {
    "GET /audit-log": "audit.read",
    "GET /audit-log/{entry_id}": "audit.read",
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
    "GET /events": "Events name messages, recipients and states; whoever wants the mail reads it, which is recorded.",
    "GET /inboxes/{inbox_id}/threads/{thread_id}/events": "As GET /events.",
    "GET /inboxes": NO_MAIL,
    "GET /inboxes/{inbox_id}": NO_MAIL,
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
    "GET /domains": NO_MAIL,
    "GET /domains/{domain_id}": NO_MAIL,
    "GET /domains/{domain_id}/zone-file": NO_MAIL,
    "GET /providers": NO_MAIL,
    "GET /providers/{provider_id}": NO_MAIL,
}
# Whose act is not that of the route's own: what comes to be is done by somebody else.
BY_OTHERS: dict[str, str] = {}

TASKS = {
    "audit.tasks.seal_trail": "It makes the seals of entries; what it seals are the acts.",
    "audit.tasks.post_heads": "It posts signed heads, and notes how far it is.",
    "inboxes.tasks.forget_answers": "It forgets kept answers of requests when their time is over.",
    "inboxes.tasks.sweep_sending_record": "It forgets counters.",
    "delivery.tasks.move_raw": "It moves raw mail from its row into the store, byte for byte: who reads it sees no change.",
    "delivery.tasks.index_messages": "It writes the search index.",
    "delivery.tasks.beat_heart": "It notes that a worker lives.",
    "delivery.tasks.forget_sends": "It forgets what sends were compared with.",
    "delivery.tasks.sweep_suppressions": "It removes rows that say themselves when they end, which their own entry told.",
}
COMMANDS = {
    "demo": "A client of the API: its acts are those of its key.",
    "quickstart": "It starts the processes, and makes its account and key by the functions of `issue_key`.",
    "smtp": "It stores what comes; the worker files it, and that has its entry.",
    "index_messages": "It writes the search index.",
    "move_raw": "As the task.",
    "orphaned_objects": "It lists files that belong to no row, and removes them when told; no row changes.",
    "verify_audit": "It reads the trail on the server itself, where whoever has a shell could read the tables.",
    "check_isolation": "It reads policies of the database.",
    "migrate": "It is of the operator of the database: tables, not rows of tenants.",
    "flush": "It empties the database, the trail with it.",
}


@dataclass(frozen=True)
class Shown:
    """That it leaves an entry is shown by the tests of its job: the file, and the acts that it asks for."""

    file: str
    acts: tuple[str, ...]


SHOWN: dict[str, Shown] = {
    "delivery.tasks.process_inbound": Shown("tests/audit/api/test_audit_log.py", ("message.received",)),
    "delivery.tasks.send_outbound": Shown("tests/audit/api/test_audit_log.py", ("message.sent",)),
}


@dataclass
class Seen:
    """What something did to the database."""

    tables: set[str] = field(default_factory=set)
    entries: list[AuditEntry] = field(default_factory=list)

    @property
    def changed(self) -> set[str]:
        return self.tables - BOOKKEEPING.keys()

    @property
    def acts(self) -> set[str]:
        return {entry.act for entry in self.entries}


WRITES = re.compile(r'^\s*(?:WITH moved AS .* )?(?:INSERT (?:OR \w+ )?INTO|UPDATE|DELETE FROM)\s+"?(\w+)"?', re.S)


@contextmanager
def looked_at() -> Iterator[Seen]:
    """What is done inside, which is undone afterwards."""
    seen = Seen()
    with transaction.atomic():
        before = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        with CaptureQueriesContext(connection) as queries:
            yield seen
        found = (WRITES.match(query["sql"]) for query in queries)
        seen.tables = {match[1] for match in found if match} - {"staged_audit_auditentry"}
        seen.entries = list(AuditEntry.objects.filter(pk__gt=before))
        transaction.set_rollback(True)


def asked(caller: Caller, route: str, ids: dict[str, str]) -> Seen:
    method, _, path = route.partition(" ")
    if path.endswith("/cancel"):
        ids = {**ids, "message_id": ids["waiting_id"]}
    with looked_at() as seen:
        answer = caller.client.generic(
            method,
            f"/v1{path.format(**ids)}?{PARAMETERS.get(route, '').format(**ids)}",
            dumps(filled(BODIES.get(route, {}), ids)),
            content_type="application/json",
        )
        assert answer.status_code < 300, answer.content
    return seen


class TestRoutes:
    def test_each_that_changes_state_or_shows_mail_leaves_an_entry_of_the_key(
        self, alice: Caller, dns: PublishedZone
    ) -> None:
        ids = world(alice, 1)
        live = alice.with_key(mode="live")
        live.get("/v1/providers")  # the first use of a key is noted
        wrong = {}
        for route in served():
            caller = live if " /providers" in route else alice
            seen = asked(caller, route, ids)
            if route in READS:
                right = READS[route] in seen.acts and not seen.changed
            elif route in NOT_RECORDED:
                right = not seen.changed
            else:
                right = bool(seen.changed) and bool(seen.entries)
            named_ = all(entry.actor_kind == "api_key" and entry.actor_id == caller.key.pk for entry in seen.entries)
            if not right or not (named_ or route in BY_OTHERS):
                wrong[route] = (seen.changed, [(entry.act, entry.actor_kind) for entry in seen.entries])
        assert not wrong

    def test_its_lists_name_no_route_that_is_gone(self) -> None:
        assert READS.keys() | NOT_RECORDED.keys() | BY_OTHERS.keys() <= QUERIES.keys()
        assert set(READS.values()) <= set(names_of_acts())


@pytest.fixture(scope="module")
def rows(kept_rows: None) -> World:
    return World()


@pytest.fixture
def console_world(rows: World, db: None, dns: PublishedZone) -> World:
    return rows


BUTTONS = [
    (model, name) for model in PAGES for name in sorted(MATRIX[model].keys() - {"view", "add", "change"})
]


@pytest.mark.one_profile
class TestConsole:
    def test_each_button_leaves_an_entry_of_the_person(self, console_world: World) -> None:
        wrong = {}
        browser = console(person("root"))
        for model, action in BUTTONS:
            with transaction.atomic():
                row = console_world.row(model, console_world.mine)
                make_ready(action, row)
                with looked_at() as seen:
                    act(browser, action, row, reason="because")
                transaction.set_rollback(True)
            people = [entry for entry in seen.entries if (entry.actor_kind, entry.actor_name) == ("user", "root")]
            if not seen.changed or not people or len(people) != len(seen.entries):
                wrong[f"{named(model)} {action}"] = (seen.changed, [(e.act, e.actor_kind) for e in seen.entries])
        assert not wrong
