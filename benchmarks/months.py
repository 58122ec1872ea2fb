"""The trail by months, as it is, against the same rows in one table, each question of both right after each other. PostgreSQL.

    python -m benchmarks.months [--runs 5] [--entries 3000000] [--years 1]

The trail is filled with so many years of 1,000 inboxes of one account, a partition for each month; the other table has the same rows and
indexes, without triggers and walls, which those who ask here pass by too. A ratio above 1 says that the months take so many times as long.

Whatever has a time or an id is asked of the months as audit.lookups does it, with bounds on `public_id`. `a new session` is the first page
that a connection asks for: it reads what PostgreSQL knows of each partition.
"""

import random
import re
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import psycopg

from benchmarks.audit_entries import FILL
from benchmarks.audit_trail import MORE_INBOXES
from benchmarks.figures import options_of, report
from benchmarks.lab import PREPARE, in_django, new_database
from benchmarks.pipeline import Results

MONTHS, WHOLE = "audit_auditentry", "whole"
ASKED = 200  # times, each of another inbox or entry
SEALED_AT_ONCE = 1000
WRITTEN = 50  # batches of as many
PAGE = """
    SELECT * FROM {table} WHERE account_id = %(account)s {more} ORDER BY timestamp DESC, public_id DESC LIMIT 51
"""
OF_INBOX = "AND inbox_id = %(inbox)s"
PERIOD = "AND timestamp >= now() - interval '200 days' AND timestamp < now() - interval '170 days'"
AGAIN = f"""
    UPDATE fresh SET id = id + {WRITTEN},
        public_id = left(public_id, 16) || lpad(((right(public_id, 16))::bigint + {WRITTEN})::text, 16, '0')
"""


class Trails:
    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._connection = self._connected()
        self._newest_key = self.ask(f"SELECT max(id) FROM {MONTHS}")[0][0]
        self._account = self.ask("SELECT id FROM inboxes_account")[0][0]
        self._inboxes = [row[0] for row in self.ask("SELECT id FROM inboxes_inbox")]

    def _connected(self) -> psycopg.Connection[Any]:
        """As Django asks: with the values in the text, so that PostgreSQL knows them when it plans."""
        url = self._environment["DATABASE_URL"]
        connection = psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor)
        connection.execute("SET synchronous_commit = off")
        return connection

    def ask(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(sql.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def make(self) -> None:
        self.ask(f"CREATE TABLE {WHOLE} (LIKE {MONTHS} INCLUDING DEFAULTS INCLUDING STORAGE)")
        self.ask(f"INSERT INTO {WHOLE} SELECT * FROM {MONTHS} ORDER BY id")
        for (definition,) in self.ask("SELECT indexdef FROM pg_indexes WHERE tablename = %(table)s", table=MONTHS):
            self.ask(_of_whole(definition))
        self.ask(f"VACUUM ANALYZE {WHOLE}")
        self.ask(f"ALTER TABLE {MONTHS} DISABLE TRIGGER ALL")
        self.ask(f"CREATE TABLE fresh AS SELECT * FROM {WHOLE} ORDER BY id DESC LIMIT {WRITTEN}")

    def page(self, table: str, more: str = OF_INBOX) -> float:
        inboxes = random.sample(self._inboxes, ASKED)
        question = PAGE.format(table=table, more=more)
        return _median(lambda inbox: self.ask(question, account=self._account, inbox=inbox), inboxes)

    def of_account(self, table: str) -> float:
        return self.page(table, "")

    def month(self, table: str) -> float:
        bounds = self.ask(f"SELECT {_bound(201)}, {_bound(169)}")[0]
        narrowed = "AND public_id >= '{}' AND public_id < '{}'".format(*bounds) if table == MONTHS else ""
        return self.page(table, f"{OF_INBOX} {PERIOD} {narrowed}")

    def entry(self, table: str) -> float:
        keys = random.sample(range(1, self._newest_key), ASKED)
        wanted = [row[0] for row in self.ask(f"SELECT public_id FROM {WHOLE} WHERE id = ANY(%(keys)s)", keys=keys)]
        return _median(lambda name: self.ask(f"SELECT * FROM {table} WHERE public_id = %(name)s", name=name), wanted)

    def newest_keys(self, table: str) -> float:
        """What the sealer asks for; a verification asks the same of all."""
        keys = list(range(self._newest_key - SEALED_AT_ONCE + 1, self._newest_key + 1))
        return _median(lambda _: self._rows_of(table, keys), range(20))

    def _rows_of(self, table: str, keys: list[int]) -> None:
        if table == WHOLE:
            self.ask(f"SELECT * FROM {table} WHERE id = ANY(%(keys)s)", keys=keys)
            return
        ends = [keys[0], keys[-1]]
        first, last = sorted(self.ask(f"SELECT public_id FROM {table} WHERE id = ANY(%(ends)s)", ends=ends))
        near = "AND public_id >= %(first)s AND public_id <= %(last)s"
        found = self.ask(
            f"SELECT * FROM {table} WHERE id = ANY(%(keys)s) {near}", keys=keys, first=first[0], last=last[0]
        )
        assert len(found) == len(keys)

    def written(self, table: str) -> float:
        times = []
        for _ in range(WRITTEN):
            self.ask(AGAIN)
            times.append(_milliseconds(lambda: self.ask(f"INSERT INTO {table} SELECT * FROM fresh")))
        return statistics.median(times)

    def new_session(self, table: str) -> float:
        times = []
        for inbox in random.sample(self._inboxes, 10):
            with self._connected() as connection:
                question, values = PAGE.format(table=table, more=OF_INBOX), {"account": self._account, "inbox": inbox}
                times.append(_milliseconds(partial(connection.execute, question.encode(), values)))
        return statistics.median(times)


def _bound(days: int) -> str:
    return f"mailbot_audit_first_id(now() - interval '{days} days')"


def _of_whole(definition: str) -> str:
    """The index of the trail on the other table, where a key may be unique by itself."""
    unique, what = re.fullmatch(r"CREATE (UNIQUE )?INDEX \S+ ON (?:ONLY )?\S+ (USING .*)", definition).groups()  # type: ignore[union-attr]
    return f"CREATE {unique or ''}INDEX ON {WHOLE} {what.replace('(id, public_id)', '(id)')}"


def _median(work: Callable[[Any], object], asked: Iterable[Any]) -> float:
    """Milliseconds."""
    return statistics.median(_milliseconds(partial(work, one)) for one in asked)


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    options = options_of(__doc__, entries=3_000_000, years=1).parse_args()
    results = Results()
    with new_database() as environment:
        in_django(f"{PREPARE}{MORE_INBOXES}\n{FILL}\nfill(0, {options.entries}, {options.years})", environment)
        trails = Trails(environment)
        trails.make()
        questions = {
            "newest of an inbox": trails.page,
            "newest of the account": trails.of_account,
            "of an inbox, a month of half a year ago": trails.month,
            "an entry by its id": trails.entry,
            f"newest {SEALED_AT_ONCE} by their keys": trails.newest_keys,
            f"{WRITTEN} entries written": trails.written,
            "newest of an inbox, in a new session": trails.new_session,
        }
        for _ in range(options.runs):
            for name, ask in questions.items():
                took = {table: ask(table) for table in (WHOLE, MONTHS)}
                results.note(f"months, {name}, in one table", "ms", took[WHOLE])
                results.note(f"months, {name}, by months against it", "×", took[MONTHS] / took[WHOLE])
    report(results.figures())


if __name__ == "__main__":
    main()
