from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Q

from audit.actors import acting_as_system
from inboxes.keys import issue_key
from inboxes.models import Account, Inbox, Mode
from inboxes.permissions import PRESETS


class Command(BaseCommand):
    help = (
        "Make an API key and print its secret, once: only a digest of it is kept. Standard output is the secret alone, "
        "so that KEY=$(manage.py issue_key --account Acme) works."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--account", required=True, metavar="NAME", help="Name or id of the account.")
        parser.add_argument("--create", action="store_true", help="Make the account when there is none of that name.")
        parser.add_argument("--name", default="Issued at the command line", help="Which agent or workflow will use it.")
        parser.add_argument(
            "--mode", choices=Mode.values, default=Mode.TEST, help="test: the sandbox; nothing is sent. Default: test."
        )
        parser.add_argument(
            "--permissions", choices=sorted(PRESETS), default="full", help="A bundle of rights. Default: full."
        )
        parser.add_argument(
            "--inbox", action="append", metavar="ID", help="Limit the key to this inbox. May be given several times."
        )

    def handle(
        self, *, account: str, create: bool, name: str, mode: str, permissions: str, inbox: list[str] | None, **_: Any
    ) -> None:
        with acting_as_system("issue_key"), transaction.atomic():
            owner = _account(account, create=create)
            secret = issue_key(
                account=owner,
                name=name,
                mode=mode,
                permissions=PRESETS[permissions],
                inbox_ids=[_inbox(owner, mode, one).pk for one in inbox] if inbox else None,
            )[1]
        self.stdout.write(secret)


def _account(name: str, *, create: bool) -> Account:
    found = list(Account.objects.filter(Q(name=name) | Q(pk=name))[:2])
    if len(found) > 1:
        raise CommandError(f"Several accounts are named {name}: give the id of one.")
    if found:
        return found[0]
    if not create:
        raise CommandError(f"There is no account {name}. --create makes it.")
    return Account.objects.create(name=name)


def _inbox(account: Account, mode: str, inbox_id: str) -> Inbox:
    inbox = Inbox.objects.filter(pk=inbox_id, account=account, mode=mode).first()
    if inbox is None:
        raise CommandError(f"Account {account} has no {mode} inbox {inbox_id}.")
    return inbox
