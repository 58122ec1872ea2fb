"""`manage.py index_messages`: what search does not know yet, as the worker does bit by bit, with somebody looking on."""

from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand

from threads.search_index import index_batch, waiting

SPEAKS_EVERY = 2.0  # seconds
BAR = 30  # characters


class Command(BaseCommand):
    help = (
        "Index all messages for search that are not yet, the newest first. The worker does it too, when no mail waits."
        " May be stopped and started at any time, and run beside the worker."
    )

    def handle(self, **_: Any) -> None:
        began, done, total = monotonic(), 0, waiting()
        spoke = began
        while number := index_batch():
            done += number
            if monotonic() - spoke > SPEAKS_EVERY:
                spoke = monotonic()
                self._tell(done, max(total, done), spoke - began)
        left = waiting()
        self.stdout.write(f"{done:,} messages indexed." + (f" {left:,} are being done by others." if left else ""))

    def _tell(self, done: int, total: int, seconds: float) -> None:
        filled, rate = BAR * done // total, done / seconds
        bar = "█" * filled + "·" * (BAR - filled)
        self.stdout.write(f"{bar} {done:,} of {total:,}, {rate:,.0f}/s, {(total - done) / rate:,.0f} s to go")
        self.stdout.flush()
