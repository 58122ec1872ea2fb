"""The second wall between tenants: row-level security on PostgreSQL.

Two roles of the database, neither of which owns a table: `mailbot_tenant` sees the rows of the accounts and inboxes that its session
names, `mailbot_system` sees all. `build` puts a policy on each table that has an account; it is called after every `migrate`, so a table
that comes later stands behind the wall too. SQLite has no such thing: there the managers stand alone.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.apps import apps
from django.db import ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from mailbot.lib.postgresql_walls.roles import SYSTEM, TENANT
from mailbot.lib.tenants import TenantManager


class Wall(NamedTuple):
    """A table, and the condition under which a tenant sees a row and may write one."""

    table: str
    condition: str

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.condition.encode()).hexdigest()[:16]


# A sub-select is evaluated once a statement; current_setting itself would be for each row.
_NAMED = "ANY ((SELECT string_to_array(current_setting('mailbot.{what}', true), ','))::text[])"
_ACCOUNT = "{column} = " + _NAMED.format(what="accounts")
_UNLIMITED = "(SELECT current_setting('mailbot.inboxes', true)) = '*'"
_INBOX = "{column} = " + _NAMED.format(what="inboxes")


# Tables with an account that no tenant reads, and why.
NO_WALL = {
    "delivery_rawobject": "one raw mail may be for inboxes of several accounts; it is reached through a message only",
}


def walls() -> Iterator[Wall]:
    """One for each tenant model, as its manager says how a row belongs to an account and to an inbox."""
    for model in apps.get_models():
        manager = model._default_manager
        if isinstance(manager, TenantManager):
            yield Wall(model._meta.db_table, _condition(model, manager))


def _condition(model: type[Model], manager: "TenantManager[Any]") -> str:
    account = _ACCOUNT.format(column=_column(model, manager.account))
    if manager.whole_account:
        return f"{account} AND {_UNLIMITED}"
    if manager.inbox is None:
        return account
    return f"{account} AND ({_UNLIMITED} OR {_in_inbox(model, manager.inbox, none_is_shared=manager.none_is_shared)})"


def _in_inbox(model: type[Model], path: str, *, none_is_shared: bool) -> str:
    """By a column of the table, or through another one, which stands behind a wall of its own: who sees that row sees this one."""
    through, _, _ = path.rpartition("__")
    if through:
        field: Any = model._meta.get_field(through)
        # Correlated, because PostgreSQL would read all of the other table to fill a hash with what IN (SELECT …) gives.
        table = model._meta.db_table
        return f"EXISTS (SELECT FROM {field.related_model._meta.db_table} its WHERE its.id = {table}.{field.column})"
    field = _field(model, path)
    named = _INBOX.format(column=field.column)
    if not none_is_shared:
        return named
    # What binds all inboxes of the account, and what an act writes down about none of them (TenantManager._of_no_inbox).
    if field.null:
        return f"{named} OR {field.column} IS NULL"
    return f"{named} OR {field.column} = ''" if field.blank and not field.is_relation else named


def _column(model: type[Model], name: str) -> str:
    return str(_field(model, name).column)


def _field(model: type[Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


class RolesRefused(Exception):
    """The login can neither make the two roles nor become a member of them. The message says what its administrator has to do."""

    def __init__(self, login: str) -> None:
        super().__init__(
            f"The login “{login}” of DATABASE_URL may not act as the roles {TENANT} and {SYSTEM}, which keep tenants apart."
            f" Let a superuser of PostgreSQL run once: CREATE ROLE {TENANT} NOLOGIN; CREATE ROLE {SYSTEM} NOLOGIN;"
            f' GRANT {TENANT}, {SYSTEM} TO "{login}";  (without CREATE ROLE where they exist)'
        )


def make_roles(connection: BaseDatabaseWrapper) -> None:
    """The two roles, with the login as a member of both. Before any table is made: a login that may not do it learns so with nothing
    half done. Safe to repeat. Raises RolesRefused."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        (login,) = cursor.fetchone()
        try:
            for role in (TENANT, SYSTEM):
                cursor.execute(_MAKE_ROLE.format(role=role))
        except ProgrammingError as error:
            if getattr(error.__cause__, "sqlstate", "") != _INSUFFICIENT_PRIVILEGE:
                raise
            raise RolesRefused(login) from error


def build(connection: BaseDatabaseWrapper) -> None:
    """Give the roles their rights, and make policies that are missing or have changed. The connection is the owner's; safe to repeat."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema())")
        (schema,) = cursor.fetchone()
        for role in (TENANT, SYSTEM):
            # In one message, which is one transaction: there is no moment in which the roles have what is taken from them here.
            parts = [_GIVE_RIGHTS.format(role=role, schema=schema), *_taken_back(role)]
            cursor.execute("".join([*parts, _TAKE_FROM_PARTITIONS.format(role=role, schema=schema)]))
        built = standing(cursor)
        for wall in walls():
            if built.get(wall.table) != wall.fingerprint:
                cursor.execute(_BUILD.format(table=wall.table, condition=wall.condition, mark=wall.fingerprint))


def written_once() -> list[str]:
    """Tables whose rows no role may change or remove, as their models say."""
    return [model._meta.db_table for model in apps.get_models() if getattr(model, "written_once", False)]


def _taken_back(role: str) -> Iterator[str]:
    """From the rights to all tables."""
    for table in written_once():
        yield f"REVOKE UPDATE, DELETE ON {table} FROM {role};\n"
    for model in apps.get_models():
        if role == TENANT and getattr(model, "written_by_system", False):
            yield f"REVOKE INSERT, UPDATE, DELETE ON {model._meta.db_table} FROM {role};\n"


def is_built(connection: BaseDatabaseWrapper) -> bool:
    """Whether every wall stands: `migrate` may have been stopped between the tables and them."""
    with connection.cursor() as cursor:
        built = standing(cursor)
    return all(built.get(wall.table) == wall.fingerprint for wall in walls())


def standing(cursor: Any) -> dict[str, str]:
    """The fingerprints of the policies that are there and in force for everybody, by table."""
    cursor.execute(_MARKS)
    return dict(cursor.fetchall())


_INSUFFICIENT_PRIVILEGE = "42501"
# Roles belong to the whole server: another database of it may have made them, or be about to. From PostgreSQL 16 on, who makes a role is
# a member that may not act as it.
_MAKE_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
        BEGIN
            CREATE ROLE {role} NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    IF NOT pg_has_role(
        current_user, '{role}', CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END
    ) THEN
        EXECUTE format('GRANT {role} TO %I', current_user);
    END IF;
END $$;
"""
_GIVE_RIGHTS = """
GRANT USAGE ON SCHEMA {schema} TO {role};
DO $$ DECLARE its regclass; BEGIN
    FOR its IN SELECT oid FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = '{schema}'::regnamespace LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO {role}', its);
    END LOOP;
END $$;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {role};
"""
# What is in a partition is reached through the whole table, where the policies are.
_TAKE_FROM_PARTITIONS = """
DO $$ DECLARE part regclass; BEGIN
    FOR part IN
        SELECT oid FROM pg_class WHERE relispartition AND relkind = 'r' AND relnamespace = '{schema}'::regnamespace
        AND has_table_privilege('{role}', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM {role}', part);
    END LOOP;
END $$;
"""
# The owner is named, because FORCE takes its own rows from it too: migrations move data, and it makes the back-ups.
_BUILD = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS mailbot_tenant ON {table};
DROP POLICY IF EXISTS mailbot_everybody ON {table};
CREATE POLICY mailbot_tenant ON {table} TO mailbot_tenant USING ({condition}) WITH CHECK ({condition});
DO $$ BEGIN
    EXECUTE format(
        'CREATE POLICY mailbot_everybody ON {table} TO mailbot_system, %I USING (true) WITH CHECK (true)',
        (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = '{table}'::regclass)
    );
END $$;
COMMENT ON POLICY mailbot_tenant ON {table} IS '{mark}';
"""
_MARKS = """
SELECT c.relname, obj_description(p.oid, 'pg_policy') FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
WHERE p.polname = 'mailbot_tenant' AND c.relrowsecurity AND c.relforcerowsecurity
    AND c.relnamespace = current_schema()::regnamespace AND EXISTS (
        SELECT FROM pg_policy o WHERE o.polrelid = c.oid AND o.polname = 'mailbot_everybody' AND c.relowner = ANY (o.polroles)
    )
"""
