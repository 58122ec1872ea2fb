"""Looking into the database from coroutines."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from django.db import OperationalError, connection

from threads import lookers
from threads.lookers import Lookers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def looker() -> Iterator[Lookers]:
    looker = Lookers(1, "test-look")
    yield looker
    looker.close()


def connection_used() -> object:
    connection.ensure_connection()
    return connection.connection


class TestLookers:
    def test_it_keeps_its_connection_between_looks(self, looker: Lookers) -> None:
        async def both() -> tuple[object, object]:
            return await looker.run(connection_used), await looker.run(connection_used)

        first, second = asyncio.run(both())
        assert first is second

    def test_it_gives_the_connection_back_when_there_is_nothing_to_look_at(
        self, looker: Lookers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lookers, "KEEPS_FOR", 0.01)
        asyncio.run(looker.run(connection_used))
        deadline = time.monotonic() + 10
        while asyncio.run(looker.run(lambda: connection.connection)) is not None:
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)

    def test_it_looks_again_with_a_new_connection_when_its_own_is_broken(self, looker: Lookers) -> None:
        seen: list[object] = []

        def look() -> str:
            seen.append(connection_used())
            if len(seen) == 1:
                with connection.wrap_database_errors:  # as Django's cursors do
                    raise connection.Database.OperationalError("server closed the connection")  # type: ignore[attr-defined]
            return "found"

        assert asyncio.run(looker.run(look)) == "found"
        assert seen[0] is not seen[1]

    def test_it_says_when_there_is_no_database(self, looker: Lookers) -> None:
        def look() -> None:
            raise OperationalError("could not connect")

        with pytest.raises(OperationalError):
            asyncio.run(looker.run(look))

    def test_it_ends_its_threads_and_starts_anew(self, looker: Lookers) -> None:
        asyncio.run(looker.run(connection_used))
        looker.close()
        assert not any(thread.name.startswith("test-look") for thread in threading.enumerate())
        assert asyncio.run(looker.run(lambda: 1)) == 1
