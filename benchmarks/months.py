"""What months of its own would be to the trail: the table as it is against the same rows in twelve partitions. PostgreSQL.

    python -m benchmarks.months [--runs 5] [--entries 3000000]

Both tables are filled with a year of 1,000 inboxes of one account, as benchmarks/audit_trail.py does it, and have the same indexes; they
have no triggers and no walls. The partitions are cut by `public_id`, which begins with a time: a unique key has to hold what a table is cut
by, so the key of an entry is no unique one there. Each question is asked of both right after each other. A ratio above 1 says that the
partitions take so many times as long.

`narrowed` asks with bounds on `public_id` as well: by the time alone PostgreSQL cannot know in which month to look.
"""

import random
import re
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import Any

import psycopg

from benchmarks.audit_entries import FILL
from benchmarks.audit_trail import MORE_INBOXES
from benchmarks.figures import options_of, report
from benchmarks.lab import PREPARE, in_django, new_database
from benchmarks.pipeline import Results

TABLES = ("whole", "months")
MONTHS = 12
ASKED = 200  # times, each of another inbox or entry
SEALED_AT_ONCE = 500
WRITTEN = 50  # batches of as many
PAGE = """
    SELECT * FROM {table} WHERE account_id = %(account)s AND inbox_id = %(inbox)s {more} ORDER BY timestamp DESC, public_id DESC LIMIT 51
"""
MONTH = "AND timestamp >= now() - interval '200 days' AND timestamp < now() - interval '170 days'"
AGAIN = f"UPDATE fresh SET id = id + {WRITTEN}, public_id = 'audit_' || lpad((id + {WRITTEN})::text, 26, '0')"


class Trails:
    def __init__(self, connection: psycopg.Connection[Any], entries: int) -> None:
        self._connection, self._entries = connection, entries
        self._newest_key = self.ask("SELECT max(id) FROM audit_auditentry")[0][0]
        self._account = self.ask("SELECT id FROM inboxes_account")[0][0]
        self._inboxes = [row[0] for row in self.ask("SELECT id FROM inboxes_inbox")]

    def ask(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(sql.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def make(self) -> None:
        self.ask("CREATE TABLE whole (LIKE audit_auditentry INCLUDING DEFAULTS INCLUDING STORAGE)")
        self.ask("CREATE TABLE months (LIKE whole INCLUDING DEFAULTS INCLUDING STORAGE) PARTITION BY RANGE (public_id)")
        ends = ["MINVALUE", *(f"'{self._public_id(self._of_month(n))}'" for n in range(1, MONTHS)), "MAXVALUE"]
        for number, (begin, end) in enumerate(pairwise(ends)):
            self.ask(f"CREATE TABLE month_{number} PARTITION OF months FOR VALUES FROM ({begin}) TO ({end})")
        definitions = self.ask("SELECT indexdef FROM pg_indexes WHERE tablename = 'audit_auditentry'")
        for table in TABLES:
            self.ask(f"INSERT INTO {table} SELECT * FROM audit_auditentry ORDER BY id")
            for (definition,) in definitions:
                self.ask(_of_table(definition, table))
            self.ask(f"VACUUM ANALYZE {table}")
        self.ask(f"CREATE TABLE fresh AS SELECT * FROM whole ORDER BY id DESC LIMIT {WRITTEN}")

    def page(self, table: str, more: str = "") -> float:
        inboxes = random.sample(self._inboxes, ASKED)
        return _median(
            lambda inbox: self.ask(PAGE.format(table=table, more=more), account=self._account, inbox=inbox), inboxes
        )

    def month(self, table: str) -> float:
        return self.page(table, MONTH)

    def narrowed(self, table: str) -> float:
        begin, end = (self._public_id(int(self._entries * (365 - days) / 365)) for days in (201, 169))
        return self.page(table, f"{MONTH} AND public_id >= '{begin}' AND public_id < '{end}'")

    def entry(self, table: str) -> float:
        wanted = [self._public_id(random.randrange(self._entries)) for _ in range(ASKED)]
        return _median(lambda name: self.ask(f"SELECT * FROM {table} WHERE public_id = %(name)s", name=name), wanted)

    def newest_keys(self, table: str) -> float:
        """What the sealer asks for."""
        keys = list(range(self._newest_key - SEALED_AT_ONCE, self._newest_key))
        return _median(lambda _: self.ask(f"SELECT * FROM {table} WHERE id = ANY(%(keys)s)", keys=keys), range(20))

    def written(self, table: str) -> float:
        times = []
        for _ in range(WRITTEN):
            self.ask(AGAIN)
            times.append(_milliseconds(lambda: self.ask(f"INSERT INTO {table} SELECT * FROM fresh")))
        return statistics.median(times)

    def _of_month(self, number: int) -> int:
        return self._entries * number // MONTHS

    @staticmethod
    def _public_id(number: int) -> str:
        return f"audit_{number:026d}"


def _of_table(definition: str, table: str) -> str:
    """The index of the trail, on another table."""
    unique, what = re.fullmatch(r"CREATE (UNIQUE )?INDEX \S+ ON \S+ (USING .*)", definition).groups()  # type: ignore[union-attr]
    is_unique = unique and (table == "whole" or "(public_id)" in what)
    return f"CREATE {'UNIQUE ' if is_unique else ''}INDEX ON {table} {what}"


def _median(work: Callable[[Any], object], asked: Iterable[Any]) -> float:
    """Milliseconds."""
    return statistics.median(_milliseconds(partial(work, one)) for one in asked)


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    options = options_of(__doc__, entries=3_000_000).parse_args()
    results = Results()
    with new_database() as environment:
        in_django(f"{PREPARE}{MORE_INBOXES}\n{FILL}\nfill(0, {options.entries})", environment)
        with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
            connection.execute("SET synchronous_commit = off")
            trails = Trails(connection, options.entries)
            trails.make()
            questions = {
                "the newest of an inbox": trails.page,
                "of an inbox, a month of half a year ago": trails.month,
                "the same, narrowed": trails.narrowed,
                "an entry by its id": trails.entry,
                "the newest 500 by their keys": trails.newest_keys,
                "50 entries written": trails.written,
            }
            for _ in range(options.runs):
                for name, ask in questions.items():
                    took = {table: ask(table) for table in TABLES}
                    results.note(f"months, {name}, in one table", "ms", took["whole"])
                    results.note(f"months, {name}, in twelve against one", "×", took["months"] / took["whole"])
    report(results.figures())


if __name__ == "__main__":
    main()
