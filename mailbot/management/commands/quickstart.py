import sys
from typing import Any

from django.core.management.base import BaseCommand

from mailbot.quickstart.start import quickstart


class Command(BaseCommand):
    help = "Start web, SMTP, worker and schedule on this machine; on the first start, make an account and a key."
    requires_system_checks: list[str] = []  # it runs them itself and says each finding in one line

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(quickstart())
