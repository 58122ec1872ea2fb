"""`celery worker --include mailbot.shutdown`: a worker that is asked to stop finishes what it has begun.

Honcho, systemd (KillMode=control-group) and some schedulers send SIGTERM to every process of the group. The main process
then waits for its pool, as it should; but the pool's processes would die of it in the middle of a task, and a send that
had begun would be left unknown. They leave the signal to the main process. SIGKILL ends them as ever.
"""

import signal
from typing import Any

from celery.signals import worker_process_init


@worker_process_init.connect(weak=False)
def leave_sigterm_to_the_main_process(**_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
