"""manage.py retention [--dry-run]: what is over by the retention classes, and removing it now."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actors import acting_as_system
from delivery.retention_sweep import Preview, previews, remove_now, sweep
from inboxes.accounts import NoSuchAccount, account_named
from inboxes.holds import Held, refusals_stay
from inboxes.models import Inbox

SECONDS = 3600.0


class Command(BaseCommand):
    help = (
        "Remove what is over by the retention classes, as the server's own sweep does every minute; with --dry-run tell for each inbox"
        " what would go. What is under legal hold stays."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only tell. Nothing is removed.")
        parser.add_argument("--account", metavar="NAME", help="With --dry-run: of this account only, by name or id.")
        parser.add_argument("--inbox", metavar="ID", help="Of this inbox only, whether or not its turn has come.")
        parser.add_argument("--seconds", type=float, default=SECONDS, help="Stop after so long. Default: an hour.")

    def handle(self, *, dry_run: bool, account: str | None, inbox: str | None, seconds: float, **_: Any) -> None:
        with acting_as_system("manage.py retention"):
            if dry_run:
                self._tell(account, inbox)
                return
            if account:
                raise CommandError("--account goes with --dry-run: the sweep itself is for all inboxes, or for one.")
            if inbox:
                self._remove_of(inbox, seconds)
                return
            done = sweep(seconds)
        looked_at = done.pop("inboxes", 0)
        self.stdout.write(f"{looked_at} inboxes looked at, {_counted(done)} removed")

    def _remove_of(self, inbox_id: str, seconds: float) -> None:
        inbox = Inbox.objects.filter(pk=inbox_id).first()
        if inbox is None:
            raise CommandError(f"There is no inbox {inbox_id}.")
        try:
            with refusals_stay():
                removed = remove_now(inbox, seconds)
        except Held as held:
            raise CommandError(str(held)) from held
        rest = "" if removed.is_all else "; there is more, which the sweep removes"
        self.stdout.write(f"{inbox.pk} {inbox.address}: {_counted(removed.by_part)} removed{rest}")

    def _tell(self, account: str | None, inbox: str | None) -> None:
        try:
            narrow = {"account_id": account_named(account).pk} if account else {}
        except NoSuchAccount as error:
            raise CommandError(str(error)) from error
        if inbox:
            narrow["pk"] = inbox
        found = False
        for one in previews(**narrow):
            found = True
            self._line(one)
        if not found:
            self.stdout.write(
                "No inbox has a retention class: everything is kept, but for what the server's settings say."
            )

    def _line(self, one: Preview) -> None:
        named = f"class “{one.retention.name}”" if one.retention else "no class"
        self.stdout.write(f"{one.inbox.pk} {one.inbox.address} ({named}): {one.words()}")


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(numbers.items())) or "nothing"
