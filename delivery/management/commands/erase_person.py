"""manage.py erase_person: erase a person on request, or list what would go."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actors import acting_as_system
from delivery.erasing.asking import NotErasable, UnderWay, ask_for_erasure, person_at
from delivery.erasing.planning import preview
from inboxes.accounts import NoSuchAccount, account_named
from inboxes.holds import Held, refusals_stay
from mailbot.api.renderers import dumps


class Command(BaseCommand):
    help = (
        "Erases a person, by address, from all of an account: mail of which the person is the sender or a recipient, and the address"
        " wherever else it stands. A worker does it. It cannot be undone: look first with --dry-run. docs/erasure.md"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address")
        parser.add_argument("--account", required=True, metavar="NAME", help="Name or id.")
        parser.add_argument("--reason", required=True, help="Kept in the audit trail and in the certificate.")
        parser.add_argument("--dry-run", action="store_true", help="List what would go, as JSON, and change nothing.")

    def handle(self, *, address: str, account: str, reason: str, dry_run: bool, **_: Any) -> None:
        with acting_as_system("manage.py erase_person"):
            try:
                of = account_named(account)
                person = person_at(of, address)
                if dry_run:
                    self.stdout.write(dumps(preview(of, person, reason)).decode())
                    return
                with refusals_stay():
                    erasure = ask_for_erasure(of, person, reason)
            except (NoSuchAccount, NotErasable, UnderWay, Held) as error:
                raise CommandError(str(error)) from error
        self.stdout.write(
            f"{erasure.pk} erases {erasure.person}: a worker does it, GET /v1/erasures/{erasure.pk} tells how far."
        )
