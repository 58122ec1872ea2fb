"""What the database itself refuses: that an entry, a leaf, a node, a head or a key is changed or removed.

Triggers on both databases; on PostgreSQL the roles of the server lack the rights besides (`written_once` of the models, which
mailbot.lib.row_security reads). They are put up after each `migrate`, because on SQLite a table that is altered is made anew without
them. Another one writes down with each entry that it has no leaf yet (AuditUnsealed).

What they let through is said by a mode: `removal` (audit.removal) and `flush` (the command, which empties the database). It is a setting
of PostgreSQL's session, and on SQLite a function of our connections, so that any other program is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from audit import months
from audit.leaves import CHANGES, PERSONAL, PLAIN
from mailbot.lib.postgresql_walls.roles import SYSTEM

REMOVAL, FLUSH = "removal", "flush"
VERSION = "4"  # of what is put up here; another one makes `put_up` do it again
ENTRIES, LEAVES, UNSEALED = "audit_auditentry", "audit_auditleaf", "audit_auditunsealed"
_mode: ContextVar[str] = ContextVar("audit_mode", default="")


class Refusal(NamedTuple):
    """`modes` that let it through."""

    table: str
    event: str  # UPDATE OF …, DELETE or TRUNCATE
    modes: tuple[str, ...]


def refusals() -> list[Refusal]:
    personal = [*PERSONAL.values(), CHANGES]
    found = [
        Refusal(ENTRIES, f"UPDATE OF {', '.join(['id', *PLAIN.values()])}", ()),
        Refusal(ENTRIES, f"UPDATE OF {', '.join(personal)}", (REMOVAL,)),
        Refusal(ENTRIES, "DELETE", (REMOVAL, FLUSH)),
        Refusal(LEAVES, "UPDATE OF entry_id, account_id, seq, hash", ()),
        Refusal(LEAVES, "UPDATE OF salt, kept", (REMOVAL,)),
        Refusal(LEAVES, "DELETE", (FLUSH,)),
    ]
    for table in ("audit_auditnode", "audit_audithead", "audit_auditkey"):
        found += [Refusal(table, "UPDATE", ()), Refusal(table, "DELETE", (FLUSH,))]
    return found


@contextmanager
def letting_through(mode: str, connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Inside, what `mode` lets through. On PostgreSQL the rights of the owner are needed too."""
    token = _mode.set(mode)
    try:
        if connection.vendor == "postgresql":
            _say(connection, mode)
        yield
    finally:
        _mode.reset(token)
        if connection.vendor == "postgresql":
            _say(connection, "")


def _say(connection: BaseDatabaseWrapper, mode: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('mailbot.audit_mode', %s, false)", [mode])


def add_function(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """To each connection to SQLite. Without it a trigger that asks for it refuses too."""
    if connection.vendor == "sqlite":
        connection.connection.create_function("mailbot_audit_mode", 0, _mode.get)


def put_up(connection: BaseDatabaseWrapper) -> None:
    """What is not there yet. The connection is the owner's. Safe to repeat.

    Entries without a leaf that nobody has written down are: those of before the tree, and of while there was no trigger.
    """
    tables = connection.introspection.table_names()
    if UNSEALED not in tables or is_up(connection):
        return
    if connection.vendor == "postgresql":
        _put_up_on_postgresql(connection)
    else:
        _put_up_on_sqlite(connection)


def is_up(connection: BaseDatabaseWrapper) -> bool:
    """All of it: on SQLite each table may have been made anew by itself, on PostgreSQL a partition."""
    name = _last_name()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_IS_UP_ON_POSTGRESQL, [name])
            return bool(cursor.fetchone()[0])
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        return {name, *_guards_on_sqlite()} <= {found for (found,) in cursor.fetchall()}


def _last_name() -> str:
    return f"mailbot_queue_{VERSION}"


# --- SQLite ------------------------------------------------------------------------------------------------------------


def _put_up_on_sqlite(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'mailbot_%%'")
        for (name,) in cursor.fetchall():
            cursor.execute(f'DROP TRIGGER "{name}"')
        for statement in _guards_on_sqlite().values():
            cursor.execute(statement)
        cursor.execute(_ENQUEUE_MISSING)
        cursor.execute(_QUEUE_ON_SQLITE.format(name=_last_name()))


def _guards_on_sqlite() -> dict[str, str]:
    """The statements that put them up, by name."""
    named = {f"mailbot_refusal_{number}": refusal for number, refusal in enumerate(refusals())}
    return {
        **{name: _refusal_on_sqlite(name, refusal) for name, refusal in named.items()},
        **{f"mailbot_replacing_{table}": _replacing_on_sqlite(table) for table in _UNIQUE},
        **{f"mailbot_moving_{table}": _moving_on_sqlite(table) for table in _UNIQUE},
    }


def _refusal_on_sqlite(name: str, refusal: Refusal) -> str:
    modes = ", ".join(f"'{mode}'" for mode in refusal.modes)
    when = f"WHEN mailbot_audit_mode() NOT IN ({modes})" if modes else ""
    raised = f"SELECT RAISE(ABORT, 'append-only: {refusal.table}')"
    return f"CREATE TRIGGER {name} BEFORE {refusal.event} ON {refusal.table} {when} BEGIN {raised}; END"


# What is unique in each table: its key, and the other columns.
_UNIQUE: dict[str, tuple[tuple[str, ...], ...]] = {
    ENTRIES: (("id",), ("public_id",)),
    LEAVES: (("entry_id",), ("account_id", "seq")),
    "audit_auditnode": (("id",), ("account_id", "level", "index")),
    "audit_audithead": (("id",), ("account_id", "size", "key_id")),
    "audit_auditkey": (("id",), ("key_id",)),
}


def _replacing_on_sqlite(table: str) -> str:
    """INSERT OR REPLACE removes a row without asking the triggers of DELETE."""
    rows = [" AND ".join(f'"{name}" = NEW."{name}"' for name in names) for names in _UNIQUE[table]]
    there = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE {row})" for row in rows)  # noqa: S608 (our names)
    raised = f"SELECT RAISE(ABORT, 'append-only: {table}')"
    return f"CREATE TRIGGER mailbot_replacing_{table} BEFORE INSERT ON {table} WHEN {there} BEGIN {raised}; END"


def _moving_on_sqlite(table: str) -> str:
    """A trigger on UPDATE OF goes by names, and a key has others: rowid, oid, _rowid_."""
    raised = f"SELECT RAISE(ABORT, 'append-only: {table}')"
    return f"CREATE TRIGGER mailbot_moving_{table} BEFORE UPDATE ON {table} WHEN NEW.rowid <> OLD.rowid BEGIN {raised}; END"


_QUEUE_ON_SQLITE = """
CREATE TRIGGER {name} AFTER INSERT ON audit_auditentry
BEGIN INSERT INTO audit_auditunsealed (entry_id) VALUES (NEW.id); END
"""
_ENQUEUE_MISSING = """
INSERT INTO audit_auditunsealed (entry_id) SELECT e.id FROM audit_auditentry e
WHERE NOT EXISTS (SELECT 1 FROM audit_auditleaf l WHERE l.entry_id = e.id)
AND NOT EXISTS (SELECT 1 FROM audit_auditunsealed u WHERE u.entry_id = e.id) ORDER BY e.id
"""


# --- PostgreSQL --------------------------------------------------------------------------------------------------------


def _put_up_on_postgresql(connection: BaseDatabaseWrapper) -> None:
    """In one transaction, which lets no entry in between the look for what is missing and the trigger."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema())")
        (schema,) = cursor.fetchone()
        cursor.execute("SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgname LIKE 'mailbot\\_%'")
        old = [f'DROP TRIGGER "{name}" ON {table}' for table, name in cursor.fetchall()]
        new = [
            _refusal_on_postgresql(f"mailbot_refusal_{number}", refusal) for number, refusal in enumerate(refusals())
        ]
        parts = [
            f"LOCK TABLE {ENTRIES} IN SHARE ROW EXCLUSIVE MODE",
            *old,
            _FUNCTIONS.format(schema=schema, system=SYSTEM, personal=_personal_columns()),
            months.functions(schema),
            *new,
            *(_truncation(table) for table in dict.fromkeys(refusal.table for refusal in refusals())),
            _ENQUEUE_MISSING,
            _QUEUE_ON_POSTGRESQL.format(name=_last_name()),
            _GUARD_PARTITIONS,
        ]
        cursor.execute(";\n".join(parts))


def _refusal_on_postgresql(name: str, refusal: Refusal) -> str:
    modes = ", ".join(f"'{mode}'" for mode in refusal.modes)
    return (
        f"CREATE TRIGGER {name} BEFORE {refusal.event} ON {refusal.table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION mailbot_audit_refuse({modes})"
    )


def _truncation(table: str) -> str:
    return (
        f"CREATE TRIGGER mailbot_truncation BEFORE TRUNCATE ON {table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION mailbot_audit_refuse('{FLUSH}')"
    )


def _personal_columns() -> str:
    return ", ".join([*PERSONAL.values(), CHANGES])


# Functions that run as the owner name their tables in full or say where to look: nobody can put others in their way. They let no one do
# what leaves no entry: `record` is one that says it, of these very places in the tree. (The mode is set
# inside: at the head of a function only a superuser may.)
_FUNCTIONS = """
CREATE OR REPLACE FUNCTION {schema}.mailbot_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT coalesce(current_setting('mailbot.audit_mode', true) = ANY (TG_ARGV), false) THEN
        RAISE EXCEPTION 'append-only: %', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION {schema}.mailbot_audit_queue() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'append-only: who does not see what was committed cannot write here' USING ERRCODE = 'restrict_violation';
    END IF;
    INSERT INTO {schema}.audit_auditunsealed (entry_id) SELECT id FROM added;
    IF EXISTS (SELECT FROM added JOIN {schema}.audit_auditleaf l ON l.entry_id = added.id) THEN
        RAISE EXCEPTION 'append-only: the key of another entry' USING ERRCODE = 'unique_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION {schema}.mailbot_audit_remove(account text, record text, keys bigint[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE gone bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM audit_auditentry WHERE public_id = record AND account_id = account AND act = 'trail.removed') THEN
        RAISE EXCEPTION 'no entry says that this is removed' USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM set_config('mailbot.audit_mode', 'removal', true);
    WITH said AS MATERIALIZED (
        SELECT (x->>0)::bigint AS first, (x->>1)::bigint AS last
        FROM audit_auditentry r, jsonb_array_elements(r.changes->'removed') AS x WHERE r.public_id = record
    )
    DELETE FROM audit_auditentry e WHERE e.id = ANY (keys) AND e.account_id = account AND e.act NOT LIKE 'trail.%'
        AND EXISTS (
            SELECT FROM audit_auditleaf l JOIN said ON l.seq BETWEEN said.first AND said.last
            WHERE l.entry_id = e.id AND l.account_id = account
        );
    GET DIAGNOSTICS gone = ROW_COUNT;
    PERFORM set_config('mailbot.audit_mode', '', true);
    RETURN gone;
END $$;
CREATE OR REPLACE FUNCTION {schema}.mailbot_audit_replace(account text, record text, entry bigint, given jsonb, salts jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE touched bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM audit_auditentry WHERE public_id = record AND account_id = account AND act = 'trail.replaced') THEN
        RAISE EXCEPTION 'no entry says that this is replaced' USING ERRCODE = 'restrict_violation';
    END IF;
    PERFORM set_config('mailbot.audit_mode', 'removal', true);
    UPDATE audit_auditentry e SET ({personal}) = (
        SELECT {personal} FROM jsonb_to_record(given) AS r (actor_name text, actor_email text, remote_addr inet, object_repr text,
            serialized_data jsonb, additional_data jsonb, changes_text text, changes jsonb)
    ) WHERE e.id = entry AND e.account_id = account AND e.act NOT IN ('trail.removed', 'trail.replaced')
        AND EXISTS (
            SELECT FROM audit_auditentry r, jsonb_array_elements(r.changes->'replaced') AS x, audit_auditleaf l
            WHERE r.public_id = record AND l.entry_id = e.id AND l.seq = (x->>0)::bigint
        );
    GET DIAGNOSTICS touched = ROW_COUNT;
    UPDATE audit_auditleaf SET salt = NULL, kept = salts WHERE entry_id = entry AND touched = 1;
    PERFORM set_config('mailbot.audit_mode', '', true);
    RETURN touched;
END $$;
REVOKE ALL ON FUNCTION {schema}.mailbot_audit_remove(text, text, bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.mailbot_audit_replace(text, text, bigint, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.mailbot_audit_remove(text, text, bigint[]) TO {system};
GRANT EXECUTE ON FUNCTION {schema}.mailbot_audit_replace(text, text, bigint, jsonb, jsonb) TO {system}
"""
_QUEUE_ON_POSTGRESQL = """
CREATE TRIGGER {name} AFTER INSERT ON audit_auditentry REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION mailbot_audit_queue()
"""
_IS_UP_ON_POSTGRESQL = """
SELECT bool_and(EXISTS (SELECT FROM pg_trigger WHERE tgname = %s AND tgrelid = part)) FROM (
    SELECT 'audit_auditentry'::regclass UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = 'audit_auditentry'::regclass
) parts (part)
"""
# A statement that names a partition asks its triggers, and not those of the whole table.
_GUARD_PARTITIONS = """
DO $$ BEGIN
    PERFORM mailbot_audit_guard(inhrelid::regclass) FROM pg_inherits WHERE inhparent = 'audit_auditentry'::regclass;
END $$
"""
