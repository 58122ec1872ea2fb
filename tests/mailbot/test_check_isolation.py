"""manage.py check_isolation"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from mailbot.lib import row_security
from mailbot.lib.scope import EVERYBODY, NOBODY, OWNER, acting_within

on_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no row-level security")
on_sqlite = pytest.mark.skipif("connection.vendor == 'postgresql'", reason="about SQLite")


def told() -> str:
    out = StringIO()
    call_command("check_isolation", stdout=out)
    return out.getvalue()


def refused() -> str:
    out = StringIO()
    with pytest.raises(CommandError, match="missing"):
        call_command("check_isolation", stdout=out)
    return "\n".join(line for line in out.getvalue().splitlines() if line.startswith(("MISSING", " ")))


def owner_runs(sql: str) -> None:
    with acting_within(OWNER), connection.cursor() as cursor:
        cursor.execute(sql)


@contextmanager
def login(options: str, roles: str) -> Iterator[None]:
    """Inside, the session is that of a login which has nothing but these. Gone with the transaction of the test."""
    owner_runs(f"CREATE ROLE mailbot_test_login LOGIN {options}; {roles}")
    owner_runs("SET LOCAL SESSION AUTHORIZATION mailbot_test_login")
    try:
        yield
    finally:
        owner_runs("RESET SESSION AUTHORIZATION")
        connection.connection.mailbot_scope = None


@pytest.fixture
def own_login(db: None) -> Iterator[None]:
    """As docs/isolation.md says."""
    with login("NOINHERIT", "GRANT mailbot_tenant, mailbot_system TO mailbot_test_login"):
        yield


@on_sqlite
class TestOnSQLite:
    def test_it_says_that_there_is_one_wall(self, db: None) -> None:
        assert "one wall" in told()


@on_postgresql
class TestOnPostgreSQL:
    def test_it_names_each_table_with_its_wall(self, db: None) -> None:
        answer = told()
        for wall in row_security.walls():
            assert f"stands   {wall.table}: " in answer
        assert "stands   role mailbot_tenant" in answer
        assert "foreign keys carry the tenant" in answer

    def test_it_says_why_a_table_has_none(self, db: None) -> None:
        for table, reason in row_security.NO_WALL.items():
            assert f"no wall  {table}: {reason}" in told()

    @pytest.mark.parametrize(
        "damage",
        [
            "ALTER TABLE threads_message NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE threads_message DISABLE ROW LEVEL SECURITY",
            "DROP POLICY mailbot_tenant ON threads_message",
            "COMMENT ON POLICY mailbot_tenant ON threads_message IS 'of another version'",
            "CREATE POLICY everybody ON threads_message USING (true)",
        ],
    )
    def test_it_fails_for_a_table_whose_wall_is_down(self, db: None, damage: str) -> None:
        owner_runs(damage)
        assert "threads_message" in refused()

    def test_it_fails_for_a_table_with_an_account_that_nobody_knows(self, db: None) -> None:
        owner_runs("CREATE TABLE copied AS SELECT * FROM threads_message")
        assert "copied" in refused()

    def test_it_fails_for_a_role_that_passes_policies(self, db: None) -> None:
        with transaction.atomic():
            owner_runs("GRANT mailbot_system TO mailbot_tenant")
            assert "role mailbot_tenant" in refused()
            transaction.set_rollback(True)

    def test_migrating_builds_what_is_missing(self, db: None) -> None:
        owner_runs("DROP POLICY mailbot_tenant ON threads_message")
        with acting_within(OWNER):
            row_security.build(connection)
        assert "MISSING" not in told()

    def test_it_warns_of_a_login_that_owns_the_tables(self, db: None) -> None:
        answer = told()
        assert "WARNING  login" in answer
        assert "GRANT mailbot_tenant, mailbot_system TO" in answer

    def test_a_login_of_its_own_is_enough_for_the_server(self, own_login: None) -> None:
        assert "stands   login mailbot_test_login" in told()
        for scope in (NOBODY, EVERYBODY):
            with acting_within(scope), connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM inboxes_inbox")

    def test_a_login_of_its_own_sees_nothing_outside_of_the_roles(self, own_login: None) -> None:
        with acting_within(OWNER), pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            owner_runs("SELECT count(*) FROM inboxes_inbox")

    def test_it_warns_of_a_login_that_has_the_rights_of_the_roles_before_it_takes_one(self, db: None) -> None:
        with login("INHERIT", "GRANT mailbot_tenant, mailbot_system TO mailbot_test_login"):
            assert "WARNING  login mailbot_test_login sees all rows before it takes a role" in told()

    def test_it_fails_for_a_login_that_may_not_act_as_the_roles(self, db: None) -> None:
        with login("NOINHERIT", ""):
            answer = refused()
        assert 'GRANT mailbot_tenant, mailbot_system TO "mailbot_test_login"' in answer


@on_postgresql
def test_it_minds_no_temporary_table_of_a_worker(db: None) -> None:
    """Rows are copied in by one, which stays for as long as the worker's connection."""
    with acting_within(EVERYBODY), connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE staged AS SELECT 1")
    assert "MISSING" not in told()
