"""Django's `migrate`, as the owner of the tables, which then puts up the walls between tenants."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from mailbot.lib import row_security
from mailbot.lib.scope import OWNER, acting_within


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        has_walls = connection.vendor == "postgresql" and not (options["plan"] or options["check_unapplied"])
        with acting_within(OWNER):
            if has_walls:
                _make_roles(connection)
            super().handle(*args, **options)
            if has_walls and _is_complete(connection):
                row_security.build(connection)


def _make_roles(connection: BaseDatabaseWrapper) -> None:
    try:
        row_security.make_roles(connection)
    except row_security.RolesRefused as refusal:
        raise CommandError(str(refusal)) from refusal


def _is_complete(connection: BaseDatabaseWrapper) -> bool:
    """Whether the tables are those of the models. On the way there or back a table or a column of a policy may be missing."""
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())
