"""Django's `flush`, as the owner of the tables: no other may empty one."""

from typing import Any

from django.core.management.commands import flush

from mailbot.lib.scope import OWNER, acting_within


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        with acting_within(OWNER):
            super().handle(**options)
