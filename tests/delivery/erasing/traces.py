"""Looking for what is left of a person: in each column of each table, and in each object of the store."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection

from audit.actors import acting_as_system
from delivery.erasing.working import run_erasures
from delivery.raw_erasure import remove_leaving
from tests.cast import Caller
from tests.stores import Store

# SQLite's index of words keeps what was deleted in it until it merges its parts: no words of ours can be read out of it.
# And PostgreSQL's tables in which rows stand while they are copied are of one connection, and empty behind it.
SKIPPED = ("threads_searchindex", "staged_")


def texts_of_the_database() -> Iterator[tuple[str, str]]:
    """Where, and what stands there. What is compressed is looked into."""
    with connection.cursor() as cursor:
        for table in sorted(connection.introspection.table_names(cursor)):
            if table.startswith(SKIPPED):
                continue
            cursor.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                for name, value in zip(names, row, strict=True):
                    yield f"{table}.{name}", _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, (bytes, memoryview)):
        return str(value)
    octets = bytes(value)
    with suppress(zlib.error):
        octets = zlib.decompress(octets)
    return octets.decode("utf-8", "replace")


def texts_of_the_store(store: Store) -> Iterator[tuple[str, str]]:
    for path in store.folder.rglob("*"):
        if path.is_file():
            yield f"store {path.relative_to(store.folder)}", path.read_bytes().decode("utf-8", "replace")


def places(store: Store, markers: Iterable[str]) -> set[str]:
    """The columns, and objects of the store, that hold one of these, in whatever case."""
    wanted = [marker.lower() for marker in markers]
    texts = [*texts_of_the_database(), *texts_of_the_store(store)]
    return {place for place, text in texts if any(marker in text.lower() for marker in wanted)}


def ask(caller: Caller, address: str, **body: Any) -> dict[str, Any]:
    answer = caller.post("/v1/erasures", {"address": address, "reason": "Request 2041", **body})
    assert answer.status_code in (200, 202), answer.content
    return dict(answer.json()["data"])


def work(seconds: float = 600) -> None:
    """What the worker would do, until there is nothing left to do at once."""
    with acting_as_system("eraser"):
        while run_erasures(seconds):
            pass
        remove_leaving()


def erase(caller: Caller, address: str) -> dict[str, Any]:
    """Ask for it, do it, and read what became of it."""
    erasure = ask(caller, address)
    work()
    told = caller.get(f"/v1/erasures/{erasure['id']}").json()["data"]
    if told["state"] != "done":
        pytest.fail(f"It is {told['state']}: {told['error']}")
    return dict(told)
