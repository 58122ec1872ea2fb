"""Whether the answer to a request has arrived: what the server sees of its connection, for who wants to know.

The protocol (mailbot.http_protocol) puts a Receipt into the scope of each POST, and says there what it learns. docs/api/idempotency.md
lists what counts as evidence.
"""

import threading
from collections.abc import Callable
from enum import StrEnum
from typing import Any

EXTENSION = "mailbot.receipt"  # its name among the `extensions` of an ASGI scope


class Outcome(StrEnum):
    """Of an answer: nothing is known yet, it has arrived, it has not."""

    PENDING = "pending"
    DELIVERED = "delivered"
    LOST = "lost"


class Receipt:
    """The fate of one answer. The protocol settles it in the event loop, who answers watches it from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tell: Callable[[Outcome], None] | None = None
        self.outcome = Outcome.PENDING

    @property
    def is_watched(self) -> bool:
        return self._tell is not None

    def watch(self, tell: Callable[[Outcome], None]) -> None:
        """Call `tell` with what is known already and whenever it changes: an answer that seemed to have arrived may be found lost.

        `tell` runs in the event loop or in this thread, and must not block.
        """
        with self._lock:
            self._tell = tell
            outcome = self.outcome
        if outcome is not Outcome.PENDING:
            tell(outcome)

    def settle(self, outcome: Outcome) -> None:
        with self._lock:
            changed, self.outcome = outcome is not self.outcome, outcome
            tell = self._tell
        if changed and tell:
            tell(outcome)


def receipt_of(request: Any) -> Receipt:
    """The receipt of a Django request.

    A request without an ASGI scope came by a call within this process (Django's test client, WSGI): its answer is a return value and has
    arrived. One whose server tells nothing stays pending, as if its answer never arrived.
    """
    scope = getattr(request, "scope", None)
    if scope is not None:
        found: Receipt = scope.get("extensions", {}).get(EXTENSION) or Receipt()
        return found
    returned = Receipt()
    returned.settle(Outcome.DELIVERED)
    return returned
