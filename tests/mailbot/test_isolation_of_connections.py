"""What a connection to PostgreSQL remembers of the one it acts for."""

from contextlib import suppress

import pytest
from django.db import DatabaseError, InterfaceError, connection, transaction

from mailbot.lib.scope import EVERYBODY, NOBODY, acting_within

on_postgresql = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no row-level security")


def role_of_the_connection() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return str(cursor.fetchone()[0])


@on_postgresql
@pytest.mark.django_db(transaction=True)
class TestConnections:
    """What the connection remembers of its scope is what PostgreSQL holds."""

    def test_a_transaction_that_failed_is_undone_by_its_commit_too(self):
        with acting_within(EVERYBODY):
            assert role_of_the_connection() == "mailbot_system"
        with acting_within(NOBODY), transaction.atomic():
            assert role_of_the_connection() == "mailbot_tenant"
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
        with acting_within(NOBODY):
            assert role_of_the_connection() == "mailbot_tenant"

    def test_a_transaction_is_undone_by_giving_the_connection_back(self):
        with acting_within(EVERYBODY):
            assert role_of_the_connection() == "mailbot_system"
            pid = backend()
        with acting_within(NOBODY), suppress(DatabaseError, InterfaceError), transaction.atomic():
            assert role_of_the_connection() == "mailbot_tenant"
            connection.close()
        with acting_within(NOBODY):
            assert role_of_the_connection() == "mailbot_tenant"
            while backend() != pid:  # the pool cleans it up meanwhile, and gives others first
                connection.close()
                assert role_of_the_connection() == "mailbot_tenant"


def backend() -> int:
    assert connection.connection is not None
    return int(connection.connection.info.backend_pid)
