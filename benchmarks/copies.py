"""A large database within minutes: rows that mailbot wrote itself are copied inside PostgreSQL.

The copies have ids, digests, inboxes and times of their own. Whatever columns there are, they hold what mailbot writes.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg

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
    JOIN places far ON far.number = near.number + {near} * block.number WHERE near.number < {near};
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
    "sequence": "row.sequence + (copy / {blocks}) * {held}",
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
    "threads_attachment": "(SELECT inbox_id FROM threads_message WHERE id = row.message_id)",
    "threads_event": "row.inbox_id",
    "delivery_inboundmail": "row.recipients -> 0 ->> 'inbox_id'",
    "audit_auditentry": "row.inbox_id",
}
COUNTERS = """
UPDATE inboxes_inbox SET message_count = told.messages, thread_count = told.threads
FROM (SELECT inbox_id, max(sequence) AS messages, count(DISTINCT thread_id) AS threads FROM threads_message GROUP BY inbox_id) AS told
WHERE told.inbox_id = inboxes_inbox.id
"""


@dataclass(frozen=True)
class Copies:
    """`number` copies of every row of mail. The first `near` inboxes hold `held` messages each; the copies go round them and the
    blocks of as many inboxes that follow, `blocks` in all."""

    number: int
    near: int
    blocks: int
    held: int

    def statement(self, connection: psycopg.Connection, table: str) -> str:
        """INSERT … SELECT of all copies of what the table holds."""
        found = connection.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name = %s AND is_identity = 'NO' AND is_generated = 'NEVER'",
            [table],
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
        return known.format(column=f'"{column}"', copies=self.number, blocks=self.blocks, held=self.held)


def multiply(url: str, copies: Copies, tables: Iterable[str] = tuple(TABLES)) -> None:
    """Make the copies, and say how much there is then."""
    began = time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '1GB'; SET work_mem = '256MB'")
        connection.execute(IDS.format(near=copies.near, blocks=copies.blocks))
        for table in tables:
            _copy(connection, table, copies)
        connection.execute(COUNTERS)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        stored = connection.execute("SELECT count(*), pg_database_size(current_database()) FROM threads_message")
        count, size = stored.fetchone() or (0, 0)
    print(f"{count:,} messages, {size / 1e9:.1f} GB, filled in {time.perf_counter() - began:.0f} s", flush=True)


def _copy(connection: psycopg.Connection, table: str, copies: Copies) -> None:
    """Its indexes are made again afterwards: entry by entry they take most of the time. Not those that a key stands on, own or foreign."""
    found = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND indexname NOT IN"
        " (SELECT relname FROM pg_constraint JOIN pg_class ON pg_class.oid = conindid)",
        [table],
    ).fetchall()
    for name, _ in found:
        connection.execute(f'DROP INDEX "{name}"')
    connection.execute(copies.statement(connection, table))
    for _, definition in found:
        connection.execute(definition)
