"""The second wall between tenants: row-level security on PostgreSQL.

Two roles of the database, neither of which owns a table: `mailbot_tenant` sees the rows of the accounts and inboxes that its session
names, `mailbot_system` sees all. `build` makes them and puts a policy on each table that has an account; it is called after every
`migrate`, so a table that comes later stands behind the wall too. SQLite has no such thing: there the managers stand alone.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.apps import apps
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


def walls() -> Iterator[Wall]:
    """One for each tenant model, as its manager says how a row belongs to an account and to an inbox."""
    for model in apps.get_models():
        manager = model._default_manager
        if isinstance(manager, TenantManager):
            yield Wall(model._meta.db_table, _condition(model, manager))


def _condition(model: type[Model], manager: "TenantManager[Any]") -> str:
    account = _ACCOUNT.format(column=_column(model, manager.account))
    if manager.inbox is None:
        return account
    return f"{account} AND ({_UNLIMITED} OR {_in_inbox(model, manager.inbox)})"


def _in_inbox(model: type[Model], path: str) -> str:
    """By a column of the table, or through another one, which stands behind a wall of its own: who sees that row sees this one."""
    through, _, _ = path.rpartition("__")
    if through:
        field: Any = model._meta.get_field(through)
        return f"{field.column} IN (SELECT id FROM {field.related_model._meta.db_table})"  # noqa: S608 (our names)
    field = _field(model, path)
    named = _INBOX.format(column=field.column)
    # What binds all inboxes of the account, and what an act writes down about none of them (TenantManager._of_no_inbox).
    if field.null:
        return f"{named} OR {field.column} IS NULL"
    return f"{named} OR {field.column} = ''" if field.blank and not field.is_relation else named


def _column(model: type[Model], name: str) -> str:
    return str(_field(model, name).column)


def _field(model: type[Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


def build(connection: BaseDatabaseWrapper) -> None:
    """Make the roles and the policies that are missing or have changed. The connection is the owner's; safe to repeat."""
    with connection.cursor() as cursor:
        for role in (TENANT, SYSTEM):
            cursor.execute(_MAKE_ROLE.format(role=role))
        standing = _standing(cursor)
        for wall in walls():
            if standing.get(wall.table) != wall.fingerprint:
                cursor.execute(_BUILD.format(table=wall.table, condition=wall.condition, mark=wall.fingerprint))


def _standing(cursor: Any) -> dict[str, str]:
    """The fingerprints of the policies that are there, by table."""
    cursor.execute(_MARKS)
    return dict(cursor.fetchall())


# Roles belong to the whole server: another database of it may have made them, or be about to.
_MAKE_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
        BEGIN
            CREATE ROLE {role} NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    IF NOT pg_has_role(current_user, '{role}', 'MEMBER') THEN
        EXECUTE format('GRANT {role} TO %I', current_user);
    END IF;
END $$;
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {role};
"""
# The owner is named, because FORCE takes its own rows from it too: migrations move data, and it makes the back-ups.
_BUILD = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS mailbot_tenant ON {table};
DROP POLICY IF EXISTS mailbot_everybody ON {table};
CREATE POLICY mailbot_tenant ON {table} TO mailbot_tenant USING ({condition}) WITH CHECK ({condition});
CREATE POLICY mailbot_everybody ON {table} TO mailbot_system, CURRENT_USER USING (true) WITH CHECK (true);
COMMENT ON POLICY mailbot_tenant ON {table} IS '{mark}';
"""
_MARKS = """
SELECT c.relname, obj_description(p.oid, 'pg_policy') FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
WHERE p.polname = 'mailbot_tenant' AND c.relrowsecurity AND c.relforcerowsecurity
"""
