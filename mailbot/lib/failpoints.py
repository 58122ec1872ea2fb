"""Named places at which a test can end the process as a power cut would: docs/faults.md.

MAILBOT_FAILPOINTS says where and how. It is read once, when the process starts; without it `failpoint` is an empty function. A
value that names a place or an action that does not exist stops the start.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

log = logging.getLogger(__name__)

POINTS = frozenset(
    {
        "intake.in-store",  # the bytes of a large mail are in the object store, and no row says so
        "intake.before-commit",  # mail is written, nobody has a 250; its transaction is open, unless it is one statement
        "intake.committed",  # the mail is ours, and its sender does not know it yet
        "inbound.claimed",  # a worker holds lanes and a batch, and has read nothing
        "inbound.reading",  # before each mail of a batch is read; the mail is the content
        "inbound.filed",  # messages are written, the transaction is open, the mail is not marked as done
        "wakeup.before",  # messages are committed, and who waits for them is not woken
        "send.claimed",  # a mail is marked as being sent, and its provider has nothing of it
        "send.handed-over",  # the provider has answered, and nothing is written of it
        "audit.taken",  # a sealer has taken entries out of the queue, and their leaves are not written
        "audit.appended",  # leaves and head are written, and the transaction is open
        "audit.sealed",  # the batch is committed, and nobody has been told
        "export.stored",  # a part of an export is in the store, and no row says so
        "export.cut",  # an object of a bundle is in the store, and so is the row that says so
        "export.read-back",  # all of a bundle is there, and nobody has said that it is finished
        "export.removing",  # an object of an expired bundle is gone, and its row is not
        "erasure.erased",  # a batch of an erasure is written, and its transaction is open
        "erasure.batch",  # a batch is committed, and its files are still in the store
        "erasure.finished",  # its last entry is written, and it has no certificate
        "send.committed",  # a mail is queued, and its author has no answer yet
    }
)
_ACTIONS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "kill-group": lambda: os.killpg(0, signal.SIGKILL),
    "hang": lambda: threading.Event().wait(),
}


@dataclass
class Strike:
    """`act` at the `nth` time (and each time from then on), if the content holds `content`; only once among all processes with `once`.

    `once` is a file that must not be there yet: who makes it may act.
    """

    act: Callable[[], object]
    nth: int = 1
    content: bytes = b""
    once: Path | None = None
    seen: int = field(default=0, init=False)

    def reached(self, content: bytes | memoryview) -> None:
        if self.content not in bytes(content):
            return
        self.seen += 1
        if self.seen >= self.nth and self._is_first():
            self.act()

    def _is_first(self) -> bool:
        if self.once is None:
            return True
        with suppress(FileExistsError):
            self.once.touch(exist_ok=False)
            return True
        return False


def parse(text: str) -> dict[str, Strike]:
    """`<point>=<action>[,nth=<number>][,content=<text>][,once=<file>]`, several with `;` between them.

    Raises ImproperlyConfigured for anything else.
    """
    return dict(_strike(part.strip()) for part in text.split(";") if part.strip())


def _strike(part: str) -> tuple[str, Strike]:
    try:
        point, _, rest = part.partition("=")
        action, *options = rest.split(",")
        given = dict(option.split("=", 1) for option in options)
        if point not in POINTS or given.keys() - {"nth", "content", "once"}:
            raise KeyError(part)
        once = Path(given["once"]) if "once" in given else None
        return point, Strike(_ACTIONS[action], int(given.get("nth", 1)), given.get("content", "").encode(), once)
    except (KeyError, ValueError) as error:
        raise ImproperlyConfigured(
            f"MAILBOT_FAILPOINTS: {part} is no point and action. It is for tests only."
        ) from error


_strikes = parse(os.environ.get("MAILBOT_FAILPOINTS", ""))


def _reached(name: str, content: bytes | memoryview = b"") -> None:
    if strike := _strikes.get(name):
        strike.reached(content)


def _passed(name: str, content: bytes | memoryview = b"") -> None:
    pass


if _strikes:
    log.warning("MAILBOT_FAILPOINTS is set: this process is made to fail at %s.", ", ".join(_strikes))
failpoint = _reached if _strikes else _passed
