"""Sets the clock of any Python that starts with this folder on its PYTHONPATH, by the seconds that the file CLOCK_FILE says.

libfaketime would do it for any program, but version 0.9.10 fails every `time.sleep` of Python 3.11. What passes evenly (monotonic
clocks, sleeping) stays as it is, as it does when a real clock is set.
"""

import os
import threading
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import time_machine

FOLLOWS_EVERY = 0.1  # seconds


def follow(file: Path) -> None:
    """Also where a process was forked: threads do not come along."""
    threading.Thread(target=_follow, args=[file], name="clock", daemon=True).start()


def _follow(file: Path) -> None:
    global offset
    while True:
        if (wanted := float(file.read_text())) != offset:
            clock.shift(wanted - offset)
            offset = wanted
        time.sleep(FOLLOWS_EVERY)


offset = 0.0
clock = time_machine.travel(datetime.now(UTC), tick=True).start()
if found := os.environ.get("CLOCK_FILE"):
    follow(Path(found))
    os.register_at_fork(after_in_child=partial(follow, Path(found)))
