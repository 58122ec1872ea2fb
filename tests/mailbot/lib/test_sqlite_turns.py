"""Whoever waits to write in SQLite has a turn soon, and not for ever."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
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
        with wrapper.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("CREATE TABLE notes (text)")
        yield wrapper
        wrapper.close()


@contextmanager
def another_in_a_transaction(database: DatabaseWrapper) -> Iterator[None]:
    other = sqlite3.connect(database.settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("COMMIT")
    other.close()


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


INSERT = "INSERT INTO notes VALUES (%s)"


def begin(database: DatabaseWrapper) -> None:
    database.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    database.rollback()
    database.set_autocommit(True)


def insert(database: DatabaseWrapper) -> None:
    with database.cursor() as cursor:
        cursor.execute(INSERT, ["one"])


def insert_two(database: DatabaseWrapper) -> None:
    with database.cursor() as cursor:
        cursor.executemany(INSERT, (["one"], ["two"]))


Write = Callable[[DatabaseWrapper], None]
each_write = pytest.mark.parametrize("write", [begin, insert, insert_two])


@each_write
def test_it_begins_in_one_of_the_first_pauses_of_another_writer(database: DatabaseWrapper, write: Write) -> None:
    missed = []
    for _ in range(5):
        with busy_writer(database.settings_dict["NAME"]) as pauses:
            write(database)
            missed.append(len(pauses) - 1)
    assert sum(missed) <= 10  # as SQLite looks by itself, it misses three each time


@each_write
def test_it_gives_up_when_its_time_is_over(database: DatabaseWrapper, write: Write) -> None:
    database.settings_dict["OPTIONS"]["timeout"] = 0.2
    with another_in_a_transaction(database), pytest.raises(OperationalError, match="locked"):
        write(database)


def test_what_waited_is_written_once(database: DatabaseWrapper) -> None:
    with busy_writer(database.settings_dict["NAME"]):
        insert_two(database)
    with database.cursor() as cursor:
        assert cursor.execute("SELECT text FROM notes").fetchall() == [("one",), ("two",)]


def test_another_error_is_told_at_once(database: DatabaseWrapper) -> None:
    with pytest.raises(OperationalError, match="no such table"), database.cursor() as cursor:
        cursor.execute("INSERT INTO nowhere VALUES (1)")
