"""manage.py outbox pause|resume|status: whether mail is handed out at all."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actors import acting_as_system
from delivery.models import OutboundMail
from delivery.outbound.outbox import current_state, pause, resume
from delivery.outbound.states import State
from mailbot.lib.outside_record import RecordUnavailable


class Command(BaseCommand):
    help = (
        "Pause and resume the handing out of mail, on all workers. The API goes on accepting; mail waits. After a restore of an older"
        " database the outbox pauses itself (docs/backup.md)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("act", choices=["pause", "resume", "status"])
        parser.add_argument("--reason", default="", help="Kept in the audit trail.")

    def handle(self, *, act: str, reason: str, **_: Any) -> None:
        with acting_as_system("manage.py outbox"):
            if act == "pause" and not pause(reason or "at the command line"):
                self.stderr.write("It is paused already.")
            elif act == "resume":
                self._resume(reason)
            self._show()

    def _resume(self, reason: str) -> None:
        try:
            if not resume(reason):
                self.stderr.write("It is not paused.")
        except RecordUnavailable as error:
            raise CommandError(
                f"It stays paused: the record outside of the database cannot be used: {error}"
            ) from error

    def _show(self) -> None:
        state = current_state()
        if state is None or not state.is_paused:
            self.stdout.write("running: mail is handed out as it is due")
        else:
            self.stdout.write(
                f"paused since {state.changed_at:%Y-%m-%d %H:%M:%S} UTC by {state.changed_by}: {state.reason}"
            )
        queued = OutboundMail.objects.filter(state=State.QUEUED)
        oldest = queued.order_by("created_at").values_list("created_at", flat=True).first()
        since = f", the oldest of {oldest:%Y-%m-%d %H:%M:%S} UTC" if oldest else ""
        self.stdout.write(f"{queued.count()} mails are queued{since}")
