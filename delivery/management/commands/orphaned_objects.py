"""`manage.py orphaned_objects`: what is in the object store and in no row."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from delivery.orphans import orphaned_objects, remove_orphan


class Command(BaseCommand):
    help = "List objects of the store that no row of the database knows of, and that are older than a day."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--delete", action="store_true", help="Delete them, too.")

    def handle(self, *, delete: bool, **_: Any) -> None:
        number = 0
        for name in orphaned_objects():
            self.stdout.write(name)
            number += 1
            if delete:
                remove_orphan(name)
        self.stderr.write(f"{number:,} objects{' deleted' if delete else ''}.")
