"""Every route, button, form, command and task of the whole system: what changes state leaves an entry that names an actor.

They are taken from what is registered. One that is new fails here until it is shown to leave an entry, or stands in one of the lists below
with the reason why none is due. Whether something changes state is seen in the SQL that it sends.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.contrib import admin
from django.core.management import call_command, get_commands
from django.db import connection, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver, reverse

from audit.acts import names_of_acts
from audit.models import AuditEntry
from inboxes.models import Domain
from mailbot.api.renderers import dumps
from tests.cast import Caller
from tests.console import act, console, list_of, page_of, person
from tests.dns_zone import PublishedZone
from tests.inboxes.test_console_roles import MATRIX, PAGES, World, make_ready, named
from tests.mailbot.api.test_queries import BODIES, PARAMETERS, QUERIES, filled, served, world
from threads.models import Message

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
    "threads_dailyevents": "counters",
    "delivery_recentsend": "what a send is compared with when it is tried again",
    "delivery_heartbeat": "that a worker lives",
    "django_session": "a browser's session; signing in has its own entry",
}

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
TASKS = {
    "audit.tasks.seal_trail": "It makes the seals of entries; what it seals are the acts.",
    "audit.tasks.post_heads": "It posts signed heads, and notes how far it is.",
    "audit.tasks.make_months": "It makes partitions for months to come.",
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
    "rotate_credentials": "It encrypts with another key what stays the same.",
    "check_isolation": "It reads policies of the database.",
    "migrate": "It is of the operator of the database: tables, not rows of tenants.",
    "flush": "It empties the database, the trail with it.",
}


# That it leaves an entry is shown by the tests of its job: file, and the act that it asks for.
SHOWN = {
    "audit.tasks.make_exports": ("tests/audit/test_exports.py", "export.finished"),
    "audit.tasks.expire_exports": ("tests/audit/test_exports.py", "export.expired"),
    "audit.tasks.verify_trails": ("tests/audit/test_last_verification.py", "trail.verified"),
    "inboxes.tasks.expire_inboxes": ("tests/inboxes/test_expiry.py", "inbox.expired"),
    "inboxes.tasks.sweep_quotas": ("tests/inboxes/test_quotas.py", "account.full"),
    "inboxes.tasks.check_domains": ("tests/inboxes/api/test_verify_domain.py", "domain.degraded"),
    "delivery.tasks.process_inbound": ("tests/audit/api/test_audit_log.py", "message.received"),
    "delivery.tasks.send_outbound": ("tests/audit/api/test_audit_log.py", "message.sent"),
    "delivery.tasks.sweep_outbound": ("tests/delivery/outbound/test_unknown.py", "message.unknown"),
    "delivery.tasks.look_after_breakers": ("tests/delivery/outbound/test_breaker.py", "provider.tripped"),
    "delivery.tasks.process_provider_events": ("tests/delivery/test_suppression.py", "suppression.added"),
    "delivery.tasks.wait_for_others": ("tests/delivery/api/test_attachments_by_url.py", "message.failed"),
    "delivery.tasks.remove_raw": ("tests/delivery/test_retention.py", "raw.removed"),
    "delivery.tasks.sweep_storage": ("tests/delivery/test_retention.py", "raw.removed"),
    "delivery.tasks.run_erasures": ("tests/delivery/api/test_erasures.py", "erasure.finished"),
    "erase_person": ("tests/delivery/test_erase_person.py", "erasure.requested"),
    "delivery.tasks.sweep_retention": ("tests/delivery/test_retention_classes.py", "content.removed"),
    "retention": ("tests/delivery/test_retention_classes.py", "content.removed"),
    "hold": ("tests/delivery/test_retention_classes.py", "hold.placed"),
    "issue_key": ("tests/audit/test_every_act.py", "key.issued"),
    "outbox": ("tests/delivery/test_outbox_pause.py", "outbox.paused"),
    "rotate_audit_key": ("tests/audit/test_keys.py", "trail.key_rotated"),
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


# Where the forms that add are tested, each of which looks for its entry.
FORMS = {
    "account": "tests/inboxes/test_admin_users.py",
    "user": "tests/inboxes/test_admin_users.py",
    "inbox": "tests/inboxes/test_admin_inboxes.py",
    "apikey": "tests/inboxes/test_admin_keys.py",
    "membership": "tests/inboxes/test_admin_members.py",
    "addressrule": "tests/inboxes/test_admin_lists.py",
    "suppression": "tests/delivery/test_admin_suppressions.py",
    "domain": "tests/inboxes/test_admin_domains.py",
    "provider": "tests/delivery/test_admin_providers.py",
    "export": "tests/audit/test_admin_exports.py",
    "erasure": "tests/delivery/test_admin_erasures.py",
    "legalhold": "tests/inboxes/test_admin_holds.py",
    "retentionclass": "tests/inboxes/test_admin_holds.py",
}

# Pages of the console beyond lists and rows: what tells of what they do.
OTHER_PAGES = {
    **dict.fromkeys(["index", "app_list", "jsi18n", "view_on_site", "autocomplete"], "They change nothing."),
    "login": "console.signed_in, console.sign_in_failed",
    "logout": "It ends a session; a review that was open ends with it: review.ended, tests/inboxes/test_console_roles.py",
    "password_change_done": "It changes nothing; the form before it saves a user, which is registered.",
    "delivery_raw": "raw.read, below",
    "threads_attachment": "attachment.read: tests/inboxes/test_console_roles.py",
    "inboxes_compliance": "It lists inboxes.",
    **dict.fromkeys(
        ["inboxes_compliance_inbox", "inboxes_compliance_entry", "inboxes_compliance_proof"],
        "audit.read: tests/inboxes/test_console_compliance.py",
    ),
    "inboxes_compliance_verify": "trail.verified: tests/inboxes/test_console_compliance.py",
    "inboxes_compliance_review": "review.started: tests/inboxes/test_console_roles.py",
    "inboxes_compliance_end": "review.ended: tests/inboxes/test_console_roles.py",
    "delivery_sending": "outbox.paused: tests/delivery/test_outbox_pause.py",
    "delivery_suppression_import": "suppression.imported, by the function of the API",
    "inboxes_domain_edit": "domain.updated: a registered row",
    "inboxes_domain_zone": "It changes nothing.",
    "inboxes_inbox_provider": "inbox.updated: a registered row",
    "inboxes_inbox_retention": "inbox.updated: a registered row",
    "inboxes_retentionclass_edit": "retention.class_changed: a registered row",
    "inboxes_retentionclass_over": "content.removed and the like: tests/delivery/test_admin_retention.py",
    "inboxes_provider_edit": "provider.updated: a registered row",
    "inboxes_provider_test": "provider.tested, by the function of the API",
}
# Addresses without a key or a session.
PUBLIC = {
    "": "It leads to the console.",
    "healthz": "It shows no row.",
    "readyz": "It shows no row.",
    "metrics": "Figures.",
    "docs/": "The document of the API.",
    "v1/openapi.json": "The document of the API.",
    "u/<str:token>": "suppression.added, by whoever has the link: tests/delivery/test_unsubscribing.py",
    "hooks/<str:provider_id>/<str:token>/<str:kind>": "It stores what an ESP calls with; working on it leaves entries, as TASKS has it.",
    "hooks/<str:provider_id>/<str:token>/<str:kind>/mime": "The same.",
    "t/o/<str:token>.gif": "It counts an opening: an event of the message, by nobody who is known.",
    "t/c/<str:token>": "It counts a click, likewise.",
    "^v1/.*$": "404.",
}

WRITES = re.compile(
    # In the same message PostgreSQL may enter the scope of the code before.
    r"^\s*(?:\d+ times: )?(?:SELECT set_config[^;]*; )?(?:WITH moved AS .* )?"
    r'(?:INSERT (?:OR \w+ )?INTO|UPDATE|DELETE FROM)\s+"?(\w+)"?',
    re.S,
)


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


def every_url(patterns: list[Any]) -> Iterator[Any]:
    for pattern in patterns:
        yield from every_url(pattern.url_patterns) if hasattr(pattern, "url_patterns") else [pattern]


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

    def test_each_public_address_has_a_place_here(self) -> None:
        found = [str(entry.pattern) for entry in get_resolver().url_patterns]
        assert set(found) - {"admin/", "v1/"} == PUBLIC.keys()

    def test_its_lists_name_no_route_that_is_gone(self) -> None:
        assert READS.keys() | NOT_RECORDED.keys() <= QUERIES.keys()
        assert set(READS.values()) <= set(names_of_acts())


@pytest.fixture(scope="module")
def rows(kept_rows: None) -> World:
    return World()


@pytest.fixture
def console_world(rows: World, db: None, dns: PublishedZone) -> World:
    return rows


BUTTONS = [(model, name) for model in PAGES for name in sorted(MATRIX[model].keys() - {"view", "add", "change"})]


@pytest.mark.one_profile
class TestConsole:
    def test_each_button_leaves_an_entry_of_the_person(self, console_world: World, dns: PublishedZone) -> None:
        wrong = {}
        browser = console(person("root"))
        for model, action in BUTTONS:
            with transaction.atomic():
                row = console_world.row(model, console_world.mine)
                make_ready(action, row)
                if model is Domain:
                    publish(Caller(console_world.mine, "Dora", "live"), row.pk, dns)
                with looked_at() as seen:
                    act(browser, action, row, reason="because")
                transaction.set_rollback(True)
            people = [entry for entry in seen.entries if (entry.actor_kind, entry.actor_name) == ("user", "root")]
            if not seen.changed or not people or len(people) != len(seen.entries):
                wrong[f"{named(model)} {action}"] = (seen.changed, [(e.act, e.actor_kind) for e in seen.entries])
        assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())

    @pytest.mark.parametrize("model", [model for model in PAGES if MATRIX[model]["add"]], ids=named)
    def test_each_form_that_adds_is_in_the_list(self, model: type[Model]) -> None:
        file = FORMS[str(named(model))]
        assert "AuditEntry" in (ROOT / file).read_text()

    def test_each_page_beyond_lists_and_rows_has_a_place_here(self) -> None:
        usual = ("_changelist", "_add", "_change", "_delete", "_history")
        found = {str(url.name) for url in every_url(admin.site.get_urls()) if url.name}
        assert {name for name in found if not name.endswith(usual)} == OTHER_PAGES.keys()

    def test_each_read_of_a_page_leaves_an_entry_of_the_person(self, console_world: World) -> None:
        browser = console(person("rita", console_world.mine, "reviewer"))
        message = console_world.row(Message, console_world.mine)
        for row, listed, read in (
            (message, "message.listed", "message.read"),
            (message.thread, "thread.listed", "thread.read"),
            (AuditEntry.objects.filter(account_id=console_world.mine.pk)[0], "audit.read", "audit.read"),
        ):
            for page, act_name in ((list_of(row), listed), (page_of(row), read)):
                with looked_at() as seen:
                    assert browser.get(page).status_code == 200
                assert seen.acts == {act_name}
                assert {(entry.actor_kind, entry.actor_name) for entry in seen.entries} == {("user", "rita")}
                assert {entry.account_id for entry in seen.entries} == {console_world.mine.pk}

    def test_raw_mail_too(self, console_world: World) -> None:
        browser = console(person("olga", console_world.mine))
        message = Message.objects.filter(account_id=console_world.mine.pk, direction="inbound")[0]
        with looked_at() as seen:
            assert browser.get(reverse("admin:delivery_raw", args=[message.pk])).status_code == 200
        assert [(e.act, e.object_pk, e.inbox_id) for e in seen.entries] == [("raw.read", message.pk, message.inbox_id)]


class TestWorkers:
    def test_each_task_has_a_place_here(self) -> None:
        current_app.loader.import_default_modules()
        ours = {name for name in current_app.tasks if name.split(".")[0] in OURS}
        assert ours == TASKS.keys() | {name for name in SHOWN if ".tasks." in name}

    def test_a_key_that_a_command_issues(self, alice: Caller) -> None:
        with looked_at() as seen:
            call_command("issue_key", account=alice.account.pk, stdout=StringIO())
        (entry,) = seen.entries
        assert (entry.act, entry.actor_kind, entry.actor_name) == ("key.issued", "system", "issue_key")

    def test_each_command_has_a_place_here(self) -> None:
        ours = {name for name, app in get_commands().items() if app in OURS}
        assert ours == COMMANDS.keys() | {name for name in SHOWN if ".tasks." not in name}

    @pytest.mark.parametrize("name", SHOWN)
    def test_what_it_leaves_is_asked_for_where_its_job_is_tested(self, name: str) -> None:
        file, act_name = SHOWN[name]
        assert act_name in names_of_acts()
        assert act_name in (ROOT / file).read_text()
