"""Django's `migrate`, as the owner of the tables, which then puts up the walls between tenants."""

from typing import Any

from django.core.management.commands import migrate
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from mailbot.lib import row_security
from mailbot.lib.scope import OWNER, acting_within


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        with acting_within(OWNER):
            super().handle(*args, **options)
            if connection.vendor == "postgresql" and _is_complete(connection):
                row_security.build(connection)


def _is_complete(connection: BaseDatabaseWrapper) -> bool:
    """Whether the tables are those of the models. On the way there or back a table or a column of a policy may be missing."""
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())
