"""The rate of accepted and visible mail at a million stored messages, against an empty database beside it. PostgreSQL only.

    python -m benchmarks.stored_million [--messages 1000000] [--inboxes 2000] [--seconds 15] [--runs 3]

A few mails go through the real pipeline; then their rows (message, thread, events, audit entry, delivery) are copied in the database
under ids, digests, inboxes and times of their own, so that whatever columns there are, they hold what mailbot writes. The load goes to
inboxes that hold as much as the others. The database takes some 5 GB, is filled within minutes and dropped afterwards.
"""

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg
import uvloop

from benchmarks.figures import options_of, report
from benchmarks.lab import INBOXES, Mailbot, in_django, new_database, until
from benchmarks.load import Ledger, send_all
from benchmarks.pipeline import Results, check, sustained, warm_up
from benchmarks.waits import OTHERS

SEEDS = 200  # mails, as many for each inbox of the load
# An id like those of now, but older than all of them: ids sort by their beginning.
IDS = """
CREATE FUNCTION copy_of(id text, copy int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN id LIKE '%\\_%' THEN split_part(id, '_', 1) || '_0' || lpad(copy::text, 7, '0') || right(id, 18) ELSE id END
$$;
CREATE TABLE places AS SELECT id, (row_number() OVER (
        ORDER BY local_part NOT LIKE 'bench%', length(local_part), local_part) - 1)::int AS number
    FROM inboxes_inbox;
CREATE TABLE homes AS SELECT near.id AS near, block.number AS block, far.id AS far
    FROM places near CROSS JOIN generate_series(0, {blocks} - 1) AS block(number)
    JOIN places far ON far.number = near.number + {inboxes} * block.number WHERE near.number < {inboxes};
CREATE UNIQUE INDEX ON homes (near, block);
"""
ID = "copy_of(row.{column}, copy)"
TIME = "row.{column} - ({copies} - copy) * interval '10 minutes'"
SHA256 = "md5(row.{column} || copy) || md5(copy || row.{column})"
# What is not named is copied as it is.
COLUMNS = {
    "id": ID,
    "public_id": ID,
    "object_pk": ID,
    "message_id": ID,
    "thread_id": ID,
    "source_id": ID,
    "inbox_id": "homes.far",
    "sequence": "row.sequence + (copy / {blocks}) * {seeds_an_inbox}",
    "message_id_header": "'<' || copy || '.' || md5(row.message_id_header) || '@example.com>'",
    "message_id_digest": "md5(row.message_id_digest || copy)",
    "raw_sha256": SHA256,
    "sha256": SHA256,
    "dedupe_key": "left(copy || '.' || row.dedupe_key, 100)",
    "recipients": "replace(row.recipients::text, homes.near, homes.far)::jsonb",
    "created_at": TIME,
    "last_message_at": TIME,
    "received_at": TIME,
    "processed_at": TIME,
    "occurred_at": TIME,
    "recorded_at": TIME,
    "timestamp": TIME,
}
# Table → the inbox of a row.
TABLES = {
    "threads_thread": "row.inbox_id",
    "threads_message": "row.inbox_id",
    "threads_event": "row.inbox_id",
    "delivery_inboundmail": "row.recipients -> 0 ->> 'inbox_id'",
    "audit_auditentry": "row.inbox_id",
}


@dataclass
class Copies:
    number: int
    blocks: int

    def statement(self, connection: psycopg.Connection, table: str) -> str:
        """INSERT … SELECT of all copies of what the table holds."""
        found = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND is_identity = 'NO'", [table]
        )
        names = [name for (name,) in found]
        values = [self._value(table, name) for name in names]
        columns = ", ".join(f'"{name}"' for name in names)
        return (
            f"INSERT INTO {table} ({columns}) SELECT {', '.join(values)} FROM {table} row"
            f" CROSS JOIN generate_series(1, {self.number}) AS copy"
            f" JOIN homes ON homes.near = {TABLES[table]} AND homes.block = copy % {self.blocks}"
        )

    def _value(self, table: str, column: str) -> str:
        known = COLUMNS.get(column, "row.{column}")
        if column == "recipients" and table != "delivery_inboundmail":
            known = "row.{column}"
        each = SEEDS // INBOXES
        return known.format(column=f'"{column}"', copies=self.number, blocks=self.blocks, seeds_an_inbox=each)


def fill(bot: Mailbot, messages: int, inboxes: int) -> Ledger:
    """What was really sent."""
    before = sum(bot.store.visible().values())
    ledger = uvloop.run(send_all(bot.smtp_port, SEEDS))
    until(lambda: sum(bot.store.visible().values()) >= before + ledger.accepted, "the first mails visible")
    in_django(OTHERS.format(number=inboxes - INBOXES), bot.environment)
    copies = Copies(messages // SEEDS, inboxes // INBOXES)
    began = time.perf_counter()
    with psycopg.connect(bot.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '1GB'; SET work_mem = '256MB'")
        connection.execute(IDS.format(inboxes=INBOXES, blocks=copies.blocks))
        for table in TABLES:
            _copy(connection, table, copies)
        connection.execute(
            "UPDATE inboxes_inbox SET message_count = told.messages, thread_count = told.threads FROM"
            " (SELECT inbox_id, max(sequence) AS messages, count(DISTINCT thread_id) AS threads FROM threads_message"
            "  GROUP BY inbox_id) AS told WHERE told.inbox_id = inboxes_inbox.id"
        )
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        stored = connection.execute("SELECT count(*), pg_database_size(current_database()) FROM threads_message")
        count, size = stored.fetchone() or (0, 0)
    print(f"{count:,} messages, {size / 1e9:.1f} GB, filled in {time.perf_counter() - began:.0f} s", flush=True)
    return ledger


def _copy(connection: psycopg.Connection, table: str, copies: Copies) -> None:
    """Its indexes are made again afterwards: entry by entry they take most of the time."""
    found = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND indexname NOT IN"
        " (SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass)",
        [table, table],
    ).fetchall()
    for name, _ in found:
        connection.execute(f'DROP INDEX "{name}"')
    connection.execute(copies.statement(connection, table))
    for _, definition in found:
        connection.execute(definition)


def main() -> None:
    options = options_of(__doc__, messages=1_000_000, inboxes=2000, seconds=15.0, connections=20).parse_args()
    results = Results()
    with ExitStack() as stack:
        full = stack.enter_context(new_database())
        if not full.get("DATABASE_URL"):
            sys.exit("This is measured on PostgreSQL: set DATABASE_URL.")
        with Mailbot(full) as bot:
            promised = [fill(bot, options.messages, options.inboxes)]
        for _ in range(options.runs):
            with new_database() as empty, Mailbot(empty) as bot:
                beside = one_rate(bot, options.seconds, options.connections, [])
            with Mailbot(full, prepared=True) as bot:
                rate = one_rate(bot, options.seconds, options.connections, promised)
            results.note("accepted and visible, full database", "/s", rate)
            results.note("accepted and visible, empty database beside it", "/s", beside)
            results.note("rate when full against empty", "×", rate / beside)
    report(results.figures())


def one_rate(bot: Mailbot, seconds: float, connections: int, promised: list[Ledger]) -> float:
    """`promised` is what the database got before; what it gets now is added."""
    promised.append(warm_up(bot))
    measured = sustained(bot, seconds, connections)
    promised.append(measured.ledger)
    check(bot.store, bot.inbox_ids, promised)
    return measured.visible_rate


if __name__ == "__main__":
    main()
