"""Django's `flush`, as the owner of the tables: no other may empty one. The trail lets it."""

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from audit.append_only import FLUSH, letting_through
from mailbot.lib.scope import OWNER, acting_within


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        with acting_within(OWNER), letting_through(FLUSH, connections[options["database"]]):
            super().handle(**options)
