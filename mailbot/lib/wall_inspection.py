"""Whether the walls between tenants stand in a database that is in use, and what weakens them.

Nothing here writes. It asks PostgreSQL itself, and not what the migrations meant to do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from mailbot.lib import row_security
from mailbot.lib.postgresql_walls.roles import SYSTEM, TENANT
from mailbot.lib.scope import OWNER, acting_within


class Level(StrEnum):
    STANDS = "stands"
    NO_WALL = "no wall"  # and that is meant
    WARNING = "WARNING"
    MISSING = "MISSING"


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix` is what can be done about it, in one line."""

    level: Level
    what: str
    fix: str = ""


MIGRATE = "Run `manage.py migrate` as the owner of the tables."
SEPARATE_LOGIN = (
    "Make a login for the server that owns nothing: CREATE ROLE mailbot LOGIN NOINHERIT PASSWORD '…'; "
    f"GRANT {TENANT}, {SYSTEM} TO mailbot; and give DATABASE_URL with the owner's to `manage.py migrate` only (docs/isolation.md)."
)


def inspect(connection: BaseDatabaseWrapper) -> list[Finding]:
    """All that there is to say of the database behind this connection."""
    if connection.vendor != "postgresql":
        what = "one wall: the application's managers. SQLite itself keeps nobody apart"
        return [Finding(Level.STANDS, what, "Use PostgreSQL where a second wall is wanted.")]
    with acting_within(OWNER), connection.cursor() as cursor:
        parts = (_roles, _walls, _foreign_policies, _without_wall, _partitions, _written_once, _keys, _login)
        return [finding for part in parts for finding in part(cursor)]


def _roles(cursor: Any) -> Iterator[Finding]:
    """A worker's temporary table, by which it copies rows in (mailbot.lib.bulk), is no table of anybody's but its session's."""
    for role, purpose in ((TENANT, "requests"), (SYSTEM, "workers, commands and superusers")):
        cursor.execute(_ROLE, [role])
        if (found := cursor.fetchone()) is None:
            yield Finding(Level.MISSING, f"role {role}", MIGRATE)
        elif any(found):
            what = f"role {role} must pass no policy, own no table and be in no other role"
            yield Finding(
                Level.MISSING, what, f"Take it from {role}: SUPERUSER, BYPASSRLS, its tables, its memberships."
            )
        else:
            yield Finding(Level.STANDS, f"role {role}, as which {purpose} act: passes no policy, owns no table")


def _walls(cursor: Any) -> Iterator[Finding]:
    standing = row_security.standing(cursor)
    for wall in sorted(row_security.walls()):
        if wall.table not in standing:
            yield Finding(Level.MISSING, f"{wall.table}: no forced policy", MIGRATE)
        elif standing[wall.table] != wall.fingerprint:
            yield Finding(Level.MISSING, f"{wall.table}: the policy is that of another version", MIGRATE)
        else:
            yield Finding(Level.STANDS, f"{wall.table}: forced policy, as this version has it")


def _foreign_policies(cursor: Any) -> Iterator[Finding]:
    """Policies add up: one more that allows is a hole in the wall, whoever made it."""
    cursor.execute(_FOREIGN_POLICIES, [[wall.table for wall in row_security.walls()]])
    for table, name in cursor.fetchall():
        fix = f'DROP POLICY "{name}" ON {table};'
        yield Finding(Level.MISSING, f"{table}: the policy {name} is not mailbot's and opens the table", fix)


def _without_wall(cursor: Any) -> Iterator[Finding]:
    cursor.execute(_TABLES_WITH_ACCOUNT)
    walled = {wall.table for wall in row_security.walls()}
    for (table,) in cursor.fetchall():
        if table in row_security.NO_WALL:
            yield Finding(Level.NO_WALL, f"{table}: {row_security.NO_WALL[table]}")
        elif table not in walled:
            yield Finding(Level.MISSING, f"{table} has an account and is no table of mailbot's", "Move or drop it.")


def _partitions(cursor: Any) -> Iterator[Finding]:
    """Of tables behind a wall, which does not stand before who names a part of one."""
    cursor.execute(_OPEN_PARTITIONS, [[TENANT, SYSTEM]])
    for table, number, opened in cursor.fetchall():
        for name in opened:
            fix = f"REVOKE ALL ON {name} FROM {TENANT}, {SYSTEM};"
            yield Finding(Level.MISSING, f"{name}: a part of {table} that a role of the server reaches by itself", fix)
        if not opened:
            what = f"{table}: {number} partitions, none of which a role of the server reaches by itself"
            yield Finding(Level.STANDS, what)


def _written_once(cursor: Any) -> Iterator[Finding]:
    """Tables that only grow: who may change a row of one can change what the trail says."""
    for table in sorted(row_security.written_once()):
        cursor.execute(_CHANGING_RIGHTS, [[TENANT, SYSTEM], table])
        if rights := [f"{role} may {right}" for role, right in cursor.fetchall()]:
            fix = f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {TENANT}, {SYSTEM};"
            yield Finding(Level.MISSING, f"{table}: is to be written once, and {', '.join(rights)}", fix)
        else:
            yield Finding(Level.STANDS, f"{table}: written once, no role of the server may change it")


def _keys(cursor: Any) -> Iterator[Finding]:
    cursor.execute(_KEYS)
    keys = cursor.fetchall()
    yield Finding(
        Level.STANDS if keys else Level.MISSING, f"{len(keys)} foreign keys carry the tenant", "" if keys else MIGRATE
    )
    for table, name, is_valid in keys:
        if not is_valid:
            fix = f'ALTER TABLE {table} VALIDATE CONSTRAINT "{name}";'
            yield Finding(Level.MISSING, f"{table}: {name} was never held against the rows that are there", fix)


def _login(cursor: Any) -> Iterator[Finding]:
    cursor.execute(_LOGIN, [TENANT, SYSTEM, [wall.table for wall in row_security.walls()]])
    name, passes, owns, sees, may_act = cursor.fetchone()
    if not may_act:
        fix = f'GRANT {TENANT}, {SYSTEM} TO "{name}";'
        yield Finding(Level.MISSING, f"login {name} may not act as the roles of the server", fix)
    weaknesses = {
        "passes every policy when it steps out of its role": passes,
        "owns the tables and can take the walls down": owns,
        "sees all rows before it takes a role": sees and not passes,
    }
    if found := [weakness for weakness, holds in weaknesses.items() if holds]:
        yield Finding(Level.WARNING, f"login {name} {', '.join(found)}", SEPARATE_LOGIN)
    elif may_act:
        yield Finding(
            Level.STANDS, f"login {name}: passes no policy, owns none of the tables, sees nothing without a role"
        )


_ROLE = """
SELECT rolsuper, rolbypassrls, EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid AND relpersistence <> 't'),
       EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid)
FROM pg_roles WHERE rolname = %s
"""
_FOREIGN_POLICIES = """
SELECT c.relname, p.polname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
WHERE c.relname = ANY(%s) AND c.relnamespace = 'public'::regnamespace AND p.polpermissive
AND p.polname NOT IN ('mailbot_tenant', 'mailbot_everybody') ORDER BY 1, 2
"""
_TABLES_WITH_ACCOUNT = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace AND a.attname = 'account_id' ORDER BY 1
"""
_OPEN_PARTITIONS = """
SELECT p.relname, count(*), coalesce(array_agg(c.relname::text ORDER BY c.relname) FILTER (WHERE EXISTS (
    SELECT FROM pg_roles r WHERE r.rolname = ANY(%s) AND (
        has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
        OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE')
    )
)), '{}') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace GROUP BY p.relname ORDER BY 1
"""
_CHANGING_RIGHTS = """
SELECT r.rolname, p FROM pg_roles r, unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) p
WHERE r.rolname = ANY(%s) AND has_table_privilege(r.oid, %s, p) ORDER BY 1, 2
"""
_KEYS = """
SELECT conrelid::regclass::text, conname, convalidated FROM pg_constraint
WHERE contype = 'f' AND array_length(conkey, 1) > 1 AND connamespace = 'public'::regnamespace ORDER BY 1, 2
"""
_LOGIN = """
SELECT session_user, rolsuper OR rolbypassrls, EXISTS (SELECT FROM pg_class WHERE relowner = r.oid AND relname = ANY(t.walled)),
       pg_has_role(session_user, t.system, 'USAGE'),
       pg_has_role(session_user, t.tenant, 'MEMBER') AND pg_has_role(session_user, t.system, 'MEMBER')
FROM pg_roles r, (SELECT %s::name AS tenant, %s::name AS system, %s::text[] AS walled) t WHERE r.rolname = session_user
"""
