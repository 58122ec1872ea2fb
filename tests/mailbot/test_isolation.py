"""Two walls between tenants: the managers, and on PostgreSQL the database itself. Each has to hold without the other."""

from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.utils import timezone

from audit.last_verification import verify_within
from audit.models import AuditNode
from audit.sealing import seal_all
from delivery.models import ErasedObject
from delivery.storage_figures import count_storage
from inboxes.holds import place
from inboxes.models import Account, ContentReview, Inbox, Membership, SendingDomain, WarmUpDay
from inboxes.retention_classes import make_class
from mailbot.lib import row_security
from mailbot.lib.scope import EVERYBODY, NOBODY, OWNER, Reach, Scope, acting_within
from mailbot.lib.tenants import TenantManager, Unscoped
from tests.audit.bundles import ask, make
from tests.cast import Caller, run_workers
from tests.dns_zone import add_domain
from tests.isolation.walls import take_out_the_managers
from tests.mailing import deliver, mail
from threads.models import Event, Message, Thread

on_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no row-level security")


def tenant_models() -> list[type[models.Model]]:
    return [model for model in apps.get_models() if isinstance(model._default_manager, TenantManager)]


def scope_of(caller: Caller, inboxes: tuple[str, ...] | None = None) -> Scope:
    return Scope(Reach.TENANT, (caller.account.pk,), inboxes)


class Told(NamedTuple):
    alice: Caller
    inbox: Inbox


@pytest.fixture(scope="module")
def rows(kept_rows: None) -> Told:
    """Alice's inbox, with something in each table that has an account."""
    alice = Caller(Account.objects.create(name="Acme"), "Alice")
    inbox = alice.create_inbox(username="alice")
    deliver(mail(Subject="Secret", attachments={"a.txt": b"secret"}), inbox)
    alice.send(inbox, subject="Also secret", body_text="secret")
    run_workers()
    Membership.objects.create(account=alice.account, user=User.objects.create_user("alice"))
    count_storage()
    live = alice.with_key(mode="live")
    provider = {"name": "Postmark", "esp": "postmark", "credentials": {"server_token": "secret"}}
    assert live.post("/v1/providers", provider).status_code == 201
    domain = SendingDomain.objects.create(account=alice.account, domain="example.com")
    WarmUpDay.objects.create(account=alice.account, domain=domain, day="2026-01-01")
    alice.post("/v1/lists/send/block", {"pattern": "blocked.example"})
    add_domain(alice)
    alice.post("/v1/suppressions", {"address": "carol@shop.example"})
    alice.client.post("/v1/inboxes", {}, content_type="application/json", headers={"Idempotency-Key": "once"})
    assert alice.post(f"/v1/inboxes/{inbox.pk}/messages/search", {"query": "secret"}).status_code == 200
    place(alice.account, inbox=inbox, matter="Smith v. Shop", reason="A claim")
    make_class(alice.account, {"name": "Short", "content_days": 30})
    live.post("/v1/erasures", {"address": "dave@shop.example", "reason": "because"})
    ErasedObject.objects.create(account_id=alice.account.pk, erasure_id="erasure_1", object_id="msg_1")
    ask(alice)
    make()
    AuditNode.objects.create(account_id=alice.account.pk, level=8, index=0, hash=b"")  # as after 256 entries
    seal_all()
    verify_within(alice.account.pk, 10)
    ContentReview.objects.create(
        account_id=alice.account.pk, inbox_id=inbox.pk, reviewer_id="1", until=timezone.now() + timedelta(hours=1)
    )
    connection.check_constraints()  # as if it were committed: PostgreSQL changes no table of which it has still to look at a row
    return Told(alice, inbox)


@pytest.fixture
def alice(rows: Told, db: None) -> Caller:
    return rows.alice


@pytest.fixture
def acme(alice: Caller) -> Account:
    return alice.account


@pytest.fixture
def told(rows: Told, db: None) -> Inbox:
    return rows.inbox


# The trail grows, the sealer alone writes its tree, and a worker what is exported.
NOT_CHANGED_BY_TENANTS = {
    "audit_auditentry",
    "audit_auditleaf",
    "audit_auditnode",
    "audit_audithead",
    "audit_audittree",
    "audit_exportpart",
    "delivery_erasedobject",
}


def may(cursor: Any, right: str, table: str) -> bool:
    cursor.execute("SELECT has_table_privilege(%s, %s)", [table, right])
    return bool(cursor.fetchone()[0])


class TestManagers:
    def test_they_refuse_who_does_not_say_for_whom_he_acts(self, db: None):
        with acting_within(NOBODY), pytest.raises(Unscoped):
            list(Message.objects.all())

    def test_they_find_only_what_belongs_to_the_account(self, told: Inbox, charlie: Caller):
        for model in tenant_models():
            with acting_within(scope_of(charlie)):
                seen = set(model._default_manager.values_list("pk", flat=True))
            with acting_within(EVERYBODY):
                theirs = {row.pk for row in model._default_manager.all() if account_of(row) != charlie.account.pk}
            assert not seen & theirs, model

    def test_they_find_only_what_belongs_to_the_inboxes_of_the_key(self, alice: Caller, told: Inbox):
        other = alice.create_inbox(username="other")
        deliver(mail(Subject="Not for this key"), other)
        with acting_within(scope_of(alice, (told.pk,))):
            assert set(Message.objects.values_list("inbox_id", flat=True)) == {told.pk}
            assert set(Inbox.objects.values_list("pk", flat=True)) == {told.pk}
            assert set(Thread.objects.values_list("inbox_id", flat=True)) == {told.pk}

    def test_every_table_with_an_account_stands_behind_them(self):
        walled = {model._meta.db_table for model in tenant_models()}
        with_account = {
            model._meta.db_table
            for model in apps.get_models()
            if any(field.attname == "account_id" for field in model._meta.concrete_fields)
        }
        assert with_account - walled == set(row_security.NO_WALL)

    def test_a_relation_is_no_way_around_them(self, told: Inbox, charlie: Caller):
        with acting_within(EVERYBODY):
            message = Message.objects.filter(inbox=told).first()
            assert message is not None
        with acting_within(scope_of(charlie)):
            assert not told.messages.exists()
            assert not message.attachments.exists()
            with pytest.raises(Thread.DoesNotExist):
                Message(thread_id=message.thread_id).thread  # noqa: B018

    def test_a_relation_finds_what_belongs_to_the_inboxes_of_the_key(self, alice: Caller, told: Inbox):
        """Django makes its managers without what the models' own were told."""
        other = alice.create_inbox(username="other")
        with acting_within(EVERYBODY):
            message = Message.objects.filter(inbox=told, attachment_count=1).get()
        with acting_within(scope_of(alice, (told.pk,))):
            assert message.attachments.count() == 1
            assert alice.account.inboxes.count() == 1
        with acting_within(scope_of(alice, (other.pk,))):
            assert message.attachments.count() == 0
            assert set(alice.account.inboxes.values_list("pk", flat=True)) == {other.pk}

    def test_a_key_of_one_inbox_reads_mail_with_attachments(self, alice: Caller, told: Inbox):
        limited = alice.with_key(inbox=told)
        answer = limited.get(f"/v1/inboxes/{told.pk}/messages", direction="inbound")
        assert [len(message["attachments"]) for message in answer.json()["data"]] == [1]


def account_of(row: Any) -> str:
    return str(getattr(row, "account_id", row.pk))


@on_postgresql
class TestDatabase:
    def test_each_tenant_table_has_a_forced_policy(self, db: None):
        tables = {wall.table for wall in row_security.walls()}
        with acting_within(OWNER), connection.cursor() as cursor:
            cursor.execute(
                "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity AND relkind IN ('r', 'p')",
            )
            assert {name for (name,) in cursor.fetchall()} == tables

    def test_it_is_noticed_when_one_is_missing(self, db: None):
        """make run builds them again at the next start when it could not before."""
        with acting_within(OWNER):
            assert row_security.is_built(connection)
            with connection.cursor() as cursor:
                cursor.execute("DROP POLICY mailbot_tenant ON threads_message")
            assert not row_security.is_built(connection)
            row_security.build(connection)
            assert row_security.is_built(connection)

    def test_requests_and_workers_act_as_roles_that_own_nothing_and_pass_no_policy(self, db: None):
        for scope in (NOBODY, EVERYBODY):
            with acting_within(scope), connection.cursor() as cursor:
                cursor.execute(
                    "SELECT rolsuper, rolbypassrls, rolcreaterole, EXISTS (SELECT FROM pg_class"
                    " WHERE relowner = pg_roles.oid AND relpersistence <> 't')"  # a temporary one is gone with the connection
                    " FROM pg_roles WHERE rolname = current_user"
                )
                assert cursor.fetchone() == (False, False, False, False)

    def test_it_gives_a_tenant_nothing_of_others_whatever_is_asked(self, told: Inbox, charlie: Caller):
        for wall in row_security.walls():
            counted = f"SELECT count(*) FROM {wall.table}"
            with acting_within(EVERYBODY), connection.cursor() as cursor:
                cursor.execute(counted)
                assert cursor.fetchone()[0], f"{wall.table} is empty: let the fixture put something there"
            with acting_within(Scope(Reach.TENANT, ("account_of_nobody",))), connection.cursor() as cursor:
                cursor.execute(counted)
                assert cursor.fetchone()[0] == 0, wall.table

    def test_it_gives_nothing_at_all_to_who_acts_for_nobody(self, told: Inbox):
        for wall in row_security.walls():
            with acting_within(NOBODY), connection.cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM {wall.table}")
                assert cursor.fetchone()[0] == 0, wall.table

    def test_a_key_of_one_inbox_is_given_nothing_of_another_one(self, alice: Caller, told: Inbox):
        other = alice.create_inbox(username="other")
        for table in (
            "threads_message",
            "threads_thread",
            "threads_event",
            "threads_attachment",
            "delivery_outboundmail",
        ):
            with acting_within(scope_of(alice, (other.pk,))), connection.cursor() as cursor:
                cursor.execute(
                    f"SELECT count(*) FROM {table}"
                    + (f" WHERE inbox_id <> '{other.pk}'" if "attach" not in table else "")
                )
                assert cursor.fetchone()[0] == 0, table

    def test_it_takes_no_row_that_belongs_to_another_account(self, told: Inbox, charlie: Caller):
        with acting_within(scope_of(charlie)), pytest.raises(DatabaseError), transaction.atomic():
            Event.objects.create(account_id=told.account_id, inbox_id=told.pk, type="message.received")

    def test_it_changes_no_row_of_another_account(self, told: Inbox, charlie: Caller):
        with acting_within(scope_of(charlie)), connection.cursor() as cursor:
            for wall in row_security.walls():
                column = "id" if wall.table == "inboxes_account" else "account_id"
                if wall.table in NOT_CHANGED_BY_TENANTS:
                    assert not may(cursor, "UPDATE", wall.table)
                    continue
                cursor.execute(
                    f"UPDATE {wall.table} SET {column} = {column} WHERE {column} <> %s", [charlie.account.pk]
                )
                assert cursor.rowcount == 0, wall.table

    def test_a_row_cannot_point_at_one_of_another_tenant(self, told: Inbox, charlie: Caller):
        theirs = charlie.create_inbox(username="charlie")
        check_at_once()
        with pytest.raises(IntegrityError), transaction.atomic():
            Event.objects.create(account_id=charlie.account.pk, inbox_id=told.pk, type="message.received")
        with pytest.raises(IntegrityError), transaction.atomic():
            Message.objects.filter(inbox_id=told.pk).update(inbox_id=theirs.pk, account_id=charlie.account.pk)

    @pytest.mark.parametrize("kind", ["with parameters", "without", "of a cursor in the server"])
    def test_it_knows_for_whom_from_the_first_statement_on(
        self, told: Inbox, alice: Caller, charlie: Caller, kind: str
    ):
        """With some the scope goes in one message, and before others in one of its own."""

        def count() -> int:
            if kind == "of a cursor in the server":
                return len(list(Message.objects.filter(account=alice.account.pk).iterator(chunk_size=1)))
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*) FROM threads_message"
                    + (" WHERE account_id = %s" if kind == "with parameters" else ""),
                    [alice.account.pk] if kind == "with parameters" else None,
                )
                return int(cursor.fetchone()[0])

        found = []
        for caller in (alice, charlie, alice):
            with acting_within(scope_of(caller)):
                found.append(count())
        assert found[0] == found[2] > 0
        assert found[1] == 0

    def test_a_key_of_one_inbox_reads_no_more_of_the_table_of_messages(self, told: Inbox, alice: Caller):
        """Who sees a message sees its files. PostgreSQL may not find that out by reading all the messages of everybody first."""
        limited = scope_of(alice, (told.pk,))
        with acting_within(limited), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("EXPLAIN SELECT id FROM threads_attachment WHERE message_id = %s", ["msg_1"])
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "hashed" not in plan, plan

    def test_what_was_said_of_one_request_is_forgotten_with_its_transaction(self, told: Inbox, charlie: Caller):
        with acting_within(scope_of(charlie)):
            with suppress(ZeroDivisionError), transaction.atomic():
                assert not Inbox.objects.filter(pk=told.pk).exists()
                raise ZeroDivisionError
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM inboxes_inbox")
                assert cursor.fetchone()[0] == 0


def check_at_once() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@on_postgresql
class TestTheDatabaseAlone:
    """What it keeps from strangers, route by route: tests/isolation."""

    def test_the_team_goes_on_working(self, told: Inbox, bob: Caller, monkeypatch: pytest.MonkeyPatch):
        take_out_the_managers(monkeypatch)
        assert bob.get(f"/v1/inboxes/{told.pk}/messages").json()["meta"]["total"] == 2
