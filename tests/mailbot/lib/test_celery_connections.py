from typing import Any, cast

import pytest
from celery import current_app
from django.db import DatabaseError, connection

from mailbot.lib.celery_connections import KeepingWorkerFixup

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def between_tasks() -> Any:
    return KeepingWorkerFixup(current_app).close_database


def one() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return int(cursor.fetchone()[0])


def kept() -> object:
    """What it costs time to make anew: the pool on PostgreSQL, the open file on SQLite."""
    return cast(Any, connection).pool if connection.vendor == "postgresql" else connection.connection


def test_it_keeps_what_takes_time_to_open(between_tasks: Any) -> None:
    assert one() == 1
    before = kept()
    between_tasks()
    assert one() == 1
    assert kept() is before


def test_it_does_not_use_a_connection_again_that_failed(between_tasks: Any) -> None:
    assert one() == 1
    failed = connection.connection
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")
    between_tasks()
    assert connection.connection is not failed
    assert one() == 1
