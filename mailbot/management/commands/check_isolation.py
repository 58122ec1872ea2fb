from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from mailbot.lib.wall_inspection import Level, inspect


class Command(BaseCommand):
    help = "Say whether the walls between tenants stand in the database, and what weakens them. Exit code 1: one is missing."

    def handle(self, *args: Any, **options: Any) -> None:
        findings = inspect(connection)
        for finding in findings:
            self.stdout.write(f"{finding.level:<8} {finding.what}")
            if finding.fix:
                self.stdout.write(f"{'':<8} → {finding.fix}")
        missing = sum(finding.level is Level.MISSING for finding in findings)
        if missing:
            raise CommandError(f"{missing} of the walls between tenants {'is' if missing == 1 else 'are'} missing.")
