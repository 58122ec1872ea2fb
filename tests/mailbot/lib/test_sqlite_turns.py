"""Whoever waits to write in SQLite has a turn soon, and not for ever."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db.utils import OperationalError

from mailbot.lib.sqlite_turns.base import DatabaseWrapper
from tests.mailbot.lib.sqlite_files import sqlite_file

pytestmark = pytest.mark.one_profile

FIRST = 0.2  # seconds that the other holds the lock at first: SQLite's own pauses have grown to 100 ms by then
HELD, FREE = 0.09, 0.015  # seconds, from then on by turns


@pytest.fixture
def database(tmp_path: Path, django_db_blocker: Any) -> Iterator[DatabaseWrapper]:
    wrapper = sqlite_file(tmp_path / "turns.sqlite3")
    with django_db_blocker.unblock():  # a database of the test's own
        wrapper.ensure_connection()
        yield wrapper
        wrapper.close()


@contextmanager
def busy_writer(place: Path) -> Iterator[list[int]]:
    """Another one that writes nearly all the time; the list grows by one with each of its pauses."""
    pauses: list[int] = []
    began, is_over = threading.Event(), threading.Event()

    def write() -> None:
        connection = sqlite3.connect(place, isolation_level=None, timeout=10)
        held = FIRST
        while not is_over.is_set():
            connection.execute("BEGIN IMMEDIATE")
            began.set()
            time.sleep(held)
            connection.execute("COMMIT")
            pauses.append(len(pauses))
            held = HELD
            time.sleep(FREE)
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    assert began.wait(10)
    try:
        yield pauses
    finally:
        is_over.set()
        thread.join()


def test_it_begins_in_one_of_the_first_pauses_of_another_writer(database: DatabaseWrapper) -> None:
    missed = []
    for _ in range(5):
        with busy_writer(database.settings_dict["NAME"]) as pauses:
            database.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
            missed.append(len(pauses) - 1)
            database.rollback()
            database.set_autocommit(True)
    assert sum(missed) <= 3


def test_it_gives_up_when_its_time_is_over(database: DatabaseWrapper) -> None:
    database.settings_dict["OPTIONS"]["timeout"] = 0.2
    other = sqlite3.connect(database.settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"):
        database.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    other.execute("COMMIT")
    other.close()
