"""manage.py hold place|release|list: legal holds."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actors import acting_as_system
from inboxes.accounts import NoSuchAccount, account_named
from inboxes.holds import place, release
from inboxes.models import Account, Inbox, LegalHold


class Command(BaseCommand):
    help = (
        "Place, release and list legal holds. While one is in force, nothing of its inbox, or of any inbox of its account, is deleted,"
        " purged, erased or removed because its time is over."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        placing = acts.add_parser("place", help="On one inbox, or on all of an account.")
        where = placing.add_mutually_exclusive_group(required=True)
        where.add_argument("--inbox", metavar="ID", help="One inbox, a deleted one too.")
        where.add_argument("--account", metavar="NAME", help="All inboxes of this account, later ones too. Name or id.")
        placing.add_argument("--matter", required=True, help="The name of the case.")
        placing.add_argument("--reason", required=True, help="Kept in the audit trail.")
        releasing = acts.add_parser("release", help="End a hold.")
        releasing.add_argument("hold", metavar="ID")
        releasing.add_argument("--reason", required=True, help="Kept in the audit trail.")
        listing = acts.add_parser("list", help="Those in force.")
        listing.add_argument("--all", action="store_true", help="Those that were released too.")

    def handle(self, *, act: str, **given: Any) -> None:
        with acting_as_system("manage.py hold"):
            if act == "place":
                hold = self._place(given)
                self.stdout.write(hold.pk)
            elif act == "release":
                self._release(given["hold"], given["reason"])
            else:
                self._list(everything=given["all"])

    def _place(self, given: dict[str, Any]) -> LegalHold:
        account, inbox = _where(given["inbox"], given["account"])
        return place(account, inbox=inbox, matter=given["matter"], reason=given["reason"])

    def _release(self, hold_id: str, reason: str) -> None:
        hold = LegalHold.objects.filter(pk=hold_id).first()
        if hold is None:
            raise CommandError(f"There is no hold {hold_id}.")
        if not hold.is_in_force:
            raise CommandError(f"It was released {hold.released_at:%Y-%m-%d} by {hold.released_by}.")
        release(hold, reason=reason)
        self.stdout.write(f"released: {hold.matter}")

    def _list(self, *, everything: bool) -> None:
        holds = LegalHold.objects.select_related("account", "inbox").order_by("pk")
        found = list(holds if everything else holds.filter(released_at=None))
        for hold in found:
            where = hold.inbox.address if hold.inbox else "all inboxes"
            until = f", released {hold.released_at:%Y-%m-%d} by {hold.released_by}" if hold.released_at else ""
            told = f"{hold.pk} {hold.account.name}, {where}: {hold.matter}"
            self.stdout.write(f"{told} (since {hold.placed_at:%Y-%m-%d} by {hold.placed_by}{until})")
        if not found:
            self.stdout.write("There is none.")


def _where(inbox_id: str | None, account: str | None) -> tuple[Account, Inbox | None]:
    if inbox_id:
        inbox = Inbox.objects.select_related("account").filter(pk=inbox_id).first()
        if inbox is None:
            raise CommandError(f"There is no inbox {inbox_id}.")
        return inbox.account, inbox
    try:
        return account_named(account or ""), None
    except NoSuchAccount as error:
        raise CommandError(str(error)) from error
