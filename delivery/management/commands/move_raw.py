"""`manage.py move_raw`: raw mail into the object store, as the worker does each minute, with somebody looking on."""

from argparse import ArgumentParser
from datetime import timedelta
from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actors import acting_as_system
from delivery.raw_erasure import remove_leaving
from delivery.raw_mover import move_batch, try_again_now
from delivery.storage_figures import count_storage
from mailbot.lib.console_cells import octets

SPEAKS_EVERY = 2.0  # seconds


class Command(BaseCommand):
    help = (
        "Move raw mail that is finished from the database into the object store, and delete there what is to go."
        " May be stopped and started at any time, and run beside the worker."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--all", action="store_true", help="Also what was finished just now; default: MAILBOT_RAW_MOVE_AFTER ago."
        )

    def handle(self, *, all: bool, **_: Any) -> None:
        with acting_as_system("move_raw"):
            try_again_now()
            self._move(timedelta() if all else None)
            while remove_leaving():
                pass
            count_storage(now=True)

    def _move(self, older_than: timedelta | None) -> None:
        moved = size = 0
        spoke = monotonic()
        while (batch := move_batch(older_than=older_than)).goes_on:
            moved, size = moved + batch.moved, size + batch.octets
            if monotonic() - spoke > SPEAKS_EVERY:
                spoke = monotonic()
                self.stdout.write(f"{moved:,} mails, {octets(size)} so far")
                self.stdout.flush()
        if batch.failed:
            raise CommandError(
                f"{moved:,} mails were moved; then the object store refused {batch.failed}: {batch.error}"
            )
        self.stdout.write(f"{moved:,} mails moved, {octets(size)}.")
