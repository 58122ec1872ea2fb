"""A connection to SQLite that is closed waits for whoever asks next."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db.utils import OperationalError

from mailbot.lib.sqlite_turns import base
from mailbot.lib.sqlite_turns.base import DatabaseWrapper
from mailbot.lib.sqlite_turns.kept import MOST_KEPT, KeptConnections
from tests.mailbot.lib.sqlite_files import sqlite_file

pytestmark = pytest.mark.one_profile


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any) -> Iterator[KeptConnections]:
    kept = KeptConnections()
    monkeypatch.setattr(base, "_kept", kept)
    with django_db_blocker.unblock():  # databases of the test's own
        yield kept


def database(folder: Path, name: str = "one") -> DatabaseWrapper:
    return sqlite_file(folder / f"{name}.sqlite3")


def opened(wrapper: DatabaseWrapper) -> sqlite3.Connection:
    wrapper.ensure_connection()
    found = wrapper.connection
    assert isinstance(found, sqlite3.Connection)
    return found


def test_whoever_asks_next_has_it_in_another_thread_too(kept: KeptConnections, tmp_path: Path) -> None:
    first = database(tmp_path)
    connection = opened(first)
    first.close()
    seen: list[sqlite3.Connection] = []
    thread = threading.Thread(target=lambda: seen.append(opened(database(tmp_path))))
    thread.start()
    thread.join()
    assert seen == [connection]
    assert opened(database(tmp_path)) is not connection  # it is taken


def test_each_database_has_its_own(kept: KeptConnections, tmp_path: Path) -> None:
    first = database(tmp_path)
    connection = opened(first)
    first.close()
    assert opened(database(tmp_path, "other")) is not connection


def test_what_was_begun_is_undone_and_not_passed_on(kept: KeptConnections, tmp_path: Path) -> None:
    first = database(tmp_path)
    opened(first).execute("CREATE TABLE t (n)")
    first.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    opened(first).execute("INSERT INTO t VALUES (1)")
    connection = opened(first)
    first.close()
    second = database(tmp_path)
    assert opened(second) is not connection
    assert opened(second).execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_one_that_failed_is_not_passed_on(kept: KeptConnections, tmp_path: Path) -> None:
    first = database(tmp_path)
    connection = opened(first)
    with pytest.raises(OperationalError), first.cursor() as cursor:
        cursor.execute("SELECT * FROM nowhere")
    first.close()
    assert opened(database(tmp_path)) is not connection
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_one_that_waited_for_its_turn_is(kept: KeptConnections, tmp_path: Path) -> None:
    first, other = (
        database(tmp_path),
        sqlite3.connect(tmp_path / "one.sqlite3", isolation_level=None, check_same_thread=False),
    )
    connection = opened(first)
    other.execute("BEGIN IMMEDIATE")
    ends = threading.Timer(0.05, lambda: other.execute("COMMIT"))
    ends.start()
    first.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    first.rollback()
    first.set_autocommit(True)
    first.close()
    ends.join()
    other.close()
    assert opened(database(tmp_path)) is connection


def test_it_is_as_a_new_one(kept: KeptConnections, tmp_path: Path) -> None:
    first = database(tmp_path)
    opened(first)
    first.set_autocommit(False)
    first.close()
    second = database(tmp_path)
    opened(second)
    assert second.get_autocommit()
    assert opened(second).isolation_level is None


def test_it_keeps_a_few(kept: KeptConnections, tmp_path: Path) -> None:
    wrappers = [database(tmp_path) for _ in range(MOST_KEPT + 2)]
    connections = [opened(wrapper) for wrapper in wrappers]
    for wrapper in wrappers:
        wrapper.close()
    again = [opened(database(tmp_path)) for _ in wrappers]
    assert sum(each in connections for each in again) == MOST_KEPT


def test_a_process_that_was_forked_begins_with_none(kept: KeptConnections, tmp_path: Path) -> None:
    first = database(tmp_path)
    opened(first)
    first.close()
    name = str(first.get_connection_params()["database"])
    child = os.fork()
    if not child:
        os._exit(0 if kept.take(name) is None else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert kept.take(name) is not None
