"""How soon a search answers when other inboxes hold more and more mail. PostgreSQL, or SQLite without DATABASE_URL.

    python -m benchmarks.search [--sizes 1000,100000,1000000] [--each 1000] [--seconds 5] [--runs 3]

For each size a database of its own, all of one account, `--each` messages in every inbox: so 1,000 is an inbox alone and 1,000,000 is the
same inbox, with the same mail, among 999 others. A message has some 60 words, w0, w1, … up to w19999, the frequent ones in most messages
and the rare ones in one of a thousand. They are made by the database, and the index is made over all of them.

Each run starts a server on one database after the other and asks for that one inbox, through HTTP on one connection, each kind of query
for so long. `against alone` is the rate in the largest database against that in the smallest. At last all inboxes are asked at once.
"""

import http.client
import json
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import psycopg

from benchmarks.figures import options_of, report, shown
from benchmarks.lab import HOST, INBOXES, PREPARE, Mailbot, in_django, new_database
from benchmarks.pipeline import Results

QUERIES = {
    "a common word": "w0",
    "a rare word": "w3000",
    "two words": "w5 w40",
    "one of two words": "w300 OR w400",
    "a phrase": '"w0 w1"',
    "a beginning": "w15*",
    "a word and a minus": "w60 -w0",
    "a word and a sender": "w5 from:sender",
    "a label": "label:benchmark",
}
WARM_UP = 5  # searches of each kind before any is timed
# One message as mailbot stores it, and what stands before the words of each inbox.
SEED = """
from django.utils import timezone
from django.db import connection
from mailbot.lib.scope import OWNER, acting_within
from threads.models import Message, Thread
from threads.search_index import scope_of
inboxes = [Inbox.objects.get(local_part=f"bench{{n}}") for n in range({bench})]
inbox = inboxes[0]
others = [Inbox(account=account, mode="test", address=f"other{{n}}@mailbot.localhost", local_part=f"other{{n}}",
                domain="mailbot.localhost") for n in range({others})]
Inbox.objects.bulk_create(others, batch_size=500)
thread = Thread.objects.create(account=account, inbox=inbox)
Message.objects.create(account=account, inbox=inbox, thread=thread, sequence=0, direction="inbound", status="received",
                       from_address="sender@example.com", from_name="Sender", to=[{{"name": "", "address": inbox.address}}])
with acting_within(OWNER), connection.cursor() as cursor:
    cursor.execute("CREATE TABLE places (number int, inbox_id varchar(40), scope varchar(8))")
    cursor.executemany("INSERT INTO places VALUES (%s, %s, %s)",
                       [[n, each.pk, scope_of(each.pk)] for n, each in enumerate([*inboxes, *others][:{inboxes}])])
"""
WORDS = {
    "postgresql": "(SELECT string_agg('w' || floor(20000 * random() ^ 3)::int, ' ') FROM generate_series(1, {number} + n * 0))",
    "sqlite": "(SELECT group_concat('w' || cast(20000 * pow(abs(random() / 9223372036854775808.0), 3) AS integer), ' ')"
    " FROM (WITH RECURSIVE word(i) AS (SELECT n * 0 UNION ALL SELECT i + 1 FROM word WHERE i < {number} - 1) SELECT i FROM word))",
}
# What differs from the one message that is copied.
CHANGED = {
    "postgresql": {
        "id": "'msg_' || lpad((places.number * {each} + n)::text, 26, '0')",
        "created_at": "row.created_at - ({each} - n) * interval '1 minute'",
        "labels": "CASE WHEN n % 50 = 0 THEN '[\"benchmark\"]' ELSE '[]' END::jsonb",
    },
    "sqlite": {
        "id": "'msg_' || printf('%026d', places.number * {each} + n)",
        "created_at": "strftime('%Y-%m-%d %H:%M:%f', row.created_at, '-' || ({each} - n) || ' minutes')",
        "labels": "CASE WHEN n % 50 = 0 THEN '[\"benchmark\"]' ELSE '[]' END",
    },
}
SERIES = {
    "postgresql": "generate_series(1, {each}) AS series(n)",
    "sqlite": "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {each}) SELECT n FROM s) AS series",
}
DOCUMENTS = """
INSERT INTO threads_searchdocument (account_id, inbox_id, message_id, created_at, scope, subject, sender, recipients, files, body)
SELECT account_id, inbox_id, id, created_at, scope, ' ' || subject || ' ', ' sender sender example com ', ' to mailbot localhost ', '',
    ' ' || body_text || ' '
FROM threads_message JOIN places USING (inbox_id) WHERE sequence > 0 ORDER BY places.number, sequence
"""
FINISH = [
    "DELETE FROM threads_message WHERE sequence = 0",
    "UPDATE inboxes_inbox SET message_count = {each} WHERE id IN (SELECT inbox_id FROM places)",
    "INSERT INTO threads_searchprogress (inbox_id, account_id, oldest, newest)"
    " SELECT id, account_id, 1, message_count FROM inboxes_inbox WHERE message_count > 0",
]


def fill(environment: dict[str, str], messages: int, each: int) -> None:
    """The first inbox by itself, and from a fixed seed: on PostgreSQL it holds the same in every database."""
    inboxes = messages // each
    in_django(PREPARE + SEED.format(others=max(0, inboxes - INBOXES), inboxes=inboxes, bench=INBOXES), environment)
    began = time.perf_counter()
    url = environment.get("DATABASE_URL")
    vendor = "postgresql" if url else "sqlite"
    place = f"{environment['MAILBOT_VAR']}/mailbot.sqlite3"
    connection: Any = psycopg.connect(url, autocommit=True) if url else sqlite3.connect(place, isolation_level=None)
    names = _columns(connection, vendor)
    if url:
        # One thread for all inboxes, which no key would let in: search looks at none. Needs a superuser, as does a new database here.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off; SET maintenance_work_mem = '1GB'; SELECT setseed(0.5)")
        made_again = connection.execute("SELECT pg_get_indexdef('search_words'::regclass)").fetchone()[0]
        connection.execute("DROP INDEX search_words")
    else:
        connection.execute("BEGIN")
    for where in ("places.number = 0", "places.number > 0"):
        connection.execute(_messages(vendor, names, each) + f" WHERE row.sequence = 0 AND {where}")
    connection.execute(DOCUMENTS)
    for statement in FINISH:
        connection.execute(statement.format(each=each))
    if url:
        connection.execute(made_again)
        connection.execute("VACUUM ANALYZE")
        size = connection.execute("SELECT pg_relation_size('search_words')").fetchone()[0]
        print(f"The index has {size / 1e6:,.0f} MB, {size / messages:,.0f} octets a message.", flush=True)
    else:
        connection.execute("COMMIT")
    connection.close()
    print(f"{messages:,} messages filled in within {time.perf_counter() - began:.0f} s", flush=True)


def _columns(connection: Any, vendor: str) -> list[str]:
    if vendor == "sqlite":
        return [row[1] for row in connection.execute("PRAGMA table_info(threads_message)")]
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'threads_message' AND is_generated = 'NEVER'"
    )
    return [name for (name,) in found]


def _messages(vendor: str, names: list[str], each: int) -> str:
    changed = {
        "inbox_id": "places.inbox_id",
        "sequence": "n",
        "subject": WORDS[vendor].format(number=4),
        "body_text": WORDS[vendor].format(number=56),
        **{name: value.format(each=each) for name, value in CHANGED[vendor].items()},
    }
    values = ", ".join(changed.get(name, f'row."{name}"') for name in names)
    columns = ", ".join(f'"{name}"' for name in names)
    series = SERIES[vendor].format(each=each)
    return f"INSERT INTO threads_message ({columns}) SELECT {values} FROM threads_message row CROSS JOIN places CROSS JOIN {series}"


class Searcher:
    """One connection to the API that asks one search after the other."""

    def __init__(self, bot: Mailbot) -> None:
        self._connection = http.client.HTTPConnection(HOST, bot.port, timeout=60)
        self._headers = {"Authorization": f"Bearer {bot.key}", "Content-Type": "application/json"}
        self._inbox = bot.store.rows("SELECT id FROM inboxes_inbox WHERE local_part = 'bench0'")[0][0]

    def in_inbox(self, query: str) -> int:
        return self._ask("POST", f"/v1/inboxes/{self._inbox}/messages/search", json.dumps({"query": query}))

    def everywhere(self, query: str) -> int:
        return self._ask("GET", f"/v1/search?query={quote(query)}")

    def _ask(self, method: str, path: str, body: str | None = None) -> int:
        """How many match."""
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            sys.exit(f"{method} {path} answered {answer.status}: {content[:500]!r}")
        return int(json.loads(content)["meta"]["total"])


def milliseconds(ask: Callable[[str], int], query: str, seconds: float) -> tuple[int, float]:
    """(matches, the median of a search)"""
    for _ in range(WARM_UP):
        matches = ask(query)
    took: list[float] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends or not took:
        began = time.perf_counter()
        ask(query)
        took.append((time.perf_counter() - began) * 1000)
    return matches, statistics.median(took)


def measure(results: Results, bot: Mailbot, size: int, seconds: float) -> float:
    """Searches a second, all kinds alike."""
    searcher, spent = Searcher(bot), 0.0
    for name, query in QUERIES.items():
        matches, median = milliseconds(searcher.in_inbox, query, seconds / len(QUERIES))
        spent += median
        results.note(f"search for {name} in one inbox of {size:,} messages in all", "ms", median)
        print(f"{size:>9,} {name}: {shown(median)} ms, {matches} match", flush=True)
    rate = 1000 * len(QUERIES) / spent
    results.note(f"searches of one inbox, {size:,} messages in all", "/s", rate)
    for name in ("a common word", "a rare word"):
        _, median = milliseconds(searcher.everywhere, QUERIES[name], seconds / len(QUERIES))
        results.note(f"search for {name} in all {size:,} messages", "ms", median)
    return rate


def main() -> None:
    parser = options_of(__doc__, each=1000, seconds=5.0)
    parser.add_argument("--sizes", default="1000,100000,1000000", help="messages in all; default 1000,100000,1000000")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    results = Results()
    with ExitStack() as stack:
        databases = {size: stack.enter_context(new_database()) for size in sizes}
        for size, environment in databases.items():
            fill(environment, size, options.each)
        for _ in range(options.runs):
            rates = {}
            for size, environment in databases.items():
                with Mailbot(environment, prepared=True) as bot:
                    rates[size] = measure(results, bot, size, options.seconds)
            for size in sizes[1:]:
                results.note(
                    f"searches of one inbox, {size:,} messages against alone", "×", rates[size] / rates[sizes[0]]
                )
    report(results.figures())


if __name__ == "__main__":
    main()
