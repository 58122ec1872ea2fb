import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from mailbot.demo.story import tell


class Command(BaseCommand):
    help = "Tell the story of the product with real mail, on the server that runs or on one of its own."
    requires_system_checks: list[str] = []  # it is a client: what the server is like is the server's business

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(tell(manage=settings.BASE_DIR / "manage.py", kept=settings.VAR / "quickstart.env"))
