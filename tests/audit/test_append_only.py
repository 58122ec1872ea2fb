"""The database refuses to change the trail, to whomever; and lets it be emptied and built anew"""

from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from audit.append_only import FLUSH, REMOVAL, VERSION, letting_through, put_up
from audit.models import AuditEntry, AuditLeaf, AuditNode, AuditUnsealed
from audit.removal import remove_entries, replace_values
from audit.sealing import seal_all
from audit.verifying import verify
from mailbot.lib import row_security
from mailbot.lib.scope import EVERYBODY, OWNER, Reach, Scope, acting_within
from mailbot.lib.wall_inspection import Level, inspect
from tests.audit.trail import ACCOUNT, entry_at, sealed, write

on_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no rights")
STATEMENTS = [
    "UPDATE audit_auditentry SET act = 'x'",
    "UPDATE audit_auditentry SET actor_name = 'x'",
    "UPDATE audit_auditentry SET changes = NULL",
    "UPDATE audit_auditentry SET id = id + 1000",
    "DELETE FROM audit_auditentry",
    "DELETE FROM audit_auditentry WHERE act = 'nothing'",
    "UPDATE audit_auditleaf SET seq = seq + 1",
    "UPDATE audit_auditleaf SET salt = NULL",
    "DELETE FROM audit_auditleaf",
    "UPDATE audit_auditnode SET hash = hash",
    "DELETE FROM audit_auditnode",
    "UPDATE audit_audithead SET root = root",
    "DELETE FROM audit_audithead",
    "UPDATE audit_auditkey SET public_key = public_key",
    "DELETE FROM audit_auditkey",
]


def refused(statement: str, scope: Scope) -> bool:
    try:
        with transaction.atomic(), acting_within(scope), connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.rowcount == 0 and connection.vendor == "sqlite"  # it has triggers for rows only
    except DatabaseError:
        return True


class TestTriggers:
    @pytest.mark.parametrize("statement", STATEMENTS)
    def test_nobody_changes_what_is_written(self, db: None, statement: str):
        sealed(2)
        AuditNode.objects.create(account_id=ACCOUNT, level=8, index=0, hash=b"")
        for scope in (EVERYBODY, OWNER):
            assert refused(statement, scope)

    @pytest.mark.parametrize("mode", [REMOVAL, FLUSH])
    def test_what_is_removed_by_the_sealed_way_is_all_that_a_mode_lets_through(self, db: None, mode: str):
        sealed(2)
        lets = {statement for statement in STATEMENTS if not refused_in(mode, statement)}
        deletes = {statement for statement in STATEMENTS if statement.startswith("DELETE")}
        personal = {"UPDATE audit_auditentry SET actor_name = 'x'", "UPDATE audit_auditentry SET changes = NULL"}
        entries = {statement for statement in deletes if "auditentry" in statement}
        if mode == FLUSH:
            assert lets == deletes
        else:
            assert lets == personal | entries | {"UPDATE audit_auditleaf SET salt = NULL"}

    def test_a_row_is_not_written_over(self, db: None):
        sealed(1)
        entry = AuditEntry.objects.values().latest("pk")
        names = ", ".join(entry)
        clause = "INSERT OR REPLACE" if connection.vendor == "sqlite" else "INSERT"
        tail = "" if connection.vendor == "sqlite" else " ON CONFLICT (id) DO UPDATE SET act = 'x'"
        statement = f"{clause} INTO audit_auditentry ({names}) SELECT {names} FROM audit_auditentry{tail}"
        assert refused(statement, OWNER)

    @pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL has no such statement")
    @pytest.mark.parametrize(
        "table", ["audit_auditentry", "audit_auditleaf", "audit_auditnode", "audit_audithead", "audit_auditkey"]
    )
    def test_no_row_of_the_tree_is_written_over_either(self, db: None, table: str):
        """SQLite removes what REPLACE finds in its way without asking the triggers of DELETE."""
        sealed(2)
        AuditNode.objects.create(account_id=ACCOUNT, level=8, index=0, hash=b"")
        before = rows_of(table)
        assert before
        assert refused(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}", EVERYBODY)
        # By another unique column than the key, under a key of its own.
        assert refused(f"INSERT OR REPLACE INTO {table} SELECT {under_new_key(table)} FROM {table}", OWNER)
        assert rows_of(table) == before

    @pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL has no such column")
    @pytest.mark.parametrize("name", ["rowid", "oid", "_rowid_"])
    @pytest.mark.parametrize("table", ["audit_auditentry", "audit_auditleaf", "audit_auditnode"])
    def test_nor_is_one_moved_by_another_name_of_its_key(self, db: None, table: str, name: str):
        """A trigger on UPDATE OF a column goes by its name, and REPLACE removes what is at the other place."""
        sealed(3)
        AuditNode.objects.bulk_create(AuditNode(account_id=ACCOUNT, level=8, index=n, hash=b"") for n in range(3))
        before = rows_of(table)
        for statement in ("UPDATE", "UPDATE OR REPLACE"):
            for scope in (EVERYBODY, OWNER):
                assert refused(f"{statement} {table} SET {name} = {name} + 1", scope)
        assert rows_of(table) == before

    def test_each_entry_is_written_down_for_the_sealer(self, db: None, alice: Any):
        alice.create_inbox()
        write(5)
        entries = set(AuditEntry.objects.values_list("pk", flat=True))
        assert set(AuditUnsealed.objects.values_list("pk", flat=True)) == entries

    def test_they_are_put_up_again_where_they_are_missing(self, db: None):
        """On SQLite a table that is altered loses them. What was written meanwhile is not forgotten."""
        with transaction.atomic(), acting_within(OWNER), connection.cursor() as cursor:
            table = " ON audit_auditentry" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER mailbot_queue_{VERSION}{table}")
            write(2)
            put_up(connection)
            put_up(connection)
        write(1)
        assert AuditUnsealed.objects.count() == 3
        assert refused("DELETE FROM audit_auditentry", OWNER)

    @pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL alters a table in its place")
    @pytest.mark.parametrize("table", ["audit_auditentry", "audit_auditleaf", "audit_audithead", "audit_auditkey"])
    def test_they_are_put_up_again_on_whichever_table_is_made_anew(self, db: None, table: str):
        sealed(1)
        with acting_within(OWNER), connection.cursor() as cursor:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [table])
            for (name,) in cursor.fetchall():
                cursor.execute(f"DROP TRIGGER {name}")
        put_up(connection)
        assert refused(f"DELETE FROM {table}", OWNER)
        assert refused(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}", OWNER)


def rows_of(table: str) -> list[Any]:
    with acting_within(OWNER), connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} ORDER BY 1")
        return list(cursor.fetchall())


def under_new_key(table: str) -> str:
    """Its columns, the first of which is the key."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pragma_table_info(%s) ORDER BY cid", [table])
        key, *others = [f'"{name}"' for (name,) in cursor.fetchall()]
    return ", ".join([f"{key} + 1000", *others])


def refused_in(mode: str, statement: str) -> bool:
    """The owner's statement, whatever it did being undone."""
    try:
        with acting_within(OWNER), letting_through(mode, connection), transaction.atomic():
            AuditNode.objects.create(account_id=ACCOUNT, level=8, index=0, hash=b"")
            with connection.cursor() as cursor:
                cursor.execute(statement)
            transaction.set_rollback(True)
    except DatabaseError:
        return True
    return False


@pytest.mark.django_db(transaction=True)
class TestEmptying:
    def test_flush_empties_it(self):
        sealed(3)
        call_command("flush", verbosity=0, interactive=False)
        assert not AuditEntry.objects.exists()
        assert not AuditLeaf.objects.exists()
        sealed(1)
        assert verify(ACCOUNT).holds
        assert refused("DELETE FROM audit_auditentry", OWNER)

    @on_postgresql
    def test_nothing_else_does(self):
        write(1)
        for table in ("audit_auditentry", "audit_auditleaf", "audit_audithead"):
            assert refused(f"TRUNCATE {table}", OWNER)


@on_postgresql
class TestRights:
    def test_the_roles_of_the_server_have_none_to_change_it(self, db: None):
        assert len(row_security.written_once()) == 5
        with acting_within(OWNER), connection.cursor() as cursor:
            for table in row_security.written_once():
                for role in ("mailbot_tenant", "mailbot_system"):
                    for right in ("UPDATE", "DELETE", "TRUNCATE"):
                        cursor.execute("SELECT has_table_privilege(%s, %s, %s)", [role, table, right])
                        assert cursor.fetchone() == (False,), (role, table, right)

    def test_a_request_writes_nothing_of_the_tree(self, db: None):
        sealed(1)
        tenant = Scope(Reach.TENANT, (ACCOUNT,))
        for table in ("audit_auditleaf", "audit_audithead", "audit_audittree", "audit_auditunsealed", "audit_auditkey"):
            assert refused(f"INSERT INTO {table} SELECT * FROM {table}", tenant)

    def test_the_setting_alone_gives_no_right(self, db: None):
        sealed(1)
        with acting_within(EVERYBODY), letting_through(REMOVAL, connection):
            assert refused("DELETE FROM audit_auditentry", EVERYBODY)

    def test_the_functions_of_the_owner_want_an_entry_that_says_it(self, db: None):
        sealed(1)
        key = entry_at(0).pk
        assert refused(f"SELECT mailbot_audit_remove('{ACCOUNT}', 'audit_none', ARRAY[{key}]::bigint[])", EVERYBODY)
        assert refused(
            f"SELECT mailbot_audit_remove('{ACCOUNT}', 'audit_none', ARRAY[{key}]::bigint[])", Scope(Reach.NOBODY)
        )

    def test_an_entry_that_says_it_of_others_does_not_do(self, db: None):
        sealed(4)
        removed = remove_entries(ACCOUNT, [1], reason="retention")
        replaced = replace_values(ACCOUNT, {2: {"changes.to": None}}, reason="erasure")
        with acting_within(EVERYBODY), connection.cursor() as cursor:
            cursor.execute("SELECT mailbot_audit_remove(%s, %s, %s)", [ACCOUNT, removed, [entry_at(0).pk]])
            assert cursor.fetchone() == (0,)
            given = [ACCOUNT, replaced, entry_at(3).pk, "{}", "{}"]
            cursor.execute("SELECT mailbot_audit_replace(%s, %s, %s, %s::jsonb, %s::jsonb)", given)
            assert cursor.fetchone() == (0,)
        seal_all()
        verdict = verify(ACCOUNT)
        assert (verdict.holds, verdict.removed, verdict.replaced) == (True, 1, 1)

    def test_it_is_noticed_when_a_role_has_one(self, db: None):
        with acting_within(OWNER), connection.cursor() as cursor:
            cursor.execute("GRANT DELETE ON audit_auditentry TO mailbot_system")
        missing = [finding.what for finding in inspect(connection) if finding.level is Level.MISSING]
        assert any("audit_auditentry" in what for what in missing)
        with acting_within(OWNER):
            row_security.build(connection)
        assert not [
            finding
            for finding in inspect(connection)
            if "audit_auditentry" in finding.what and finding.level is Level.MISSING
        ]
