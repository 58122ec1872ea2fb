"""The order of a start and of a stop."""

import os
import signal
import sys
import time
from collections.abc import Callable

from celery import current_app
from django.conf import settings

from mailbot.lib.hints import ring
from mailbot.quickstart.credentials import prepare_credentials
from mailbot.quickstart.obstacles import (
    CannotStart,
    check_folder,
    check_ports,
    check_servers,
    check_settings,
    migrate_if_needed,
)
from mailbot.quickstart.processes import Processes, child_environment
from mailbot.quickstart.readiness import bell_was_answered, smtp_greets, web_answers
from mailbot.quickstart.welcome import welcome

READY_WITHIN = 60.0  # seconds; a slow machine with a cold disk needs some 15
LOOKS_EVERY = 0.05  # seconds
ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (where to ask a server that listens everywhere)


def quickstart() -> int:
    """Start everything, welcome the user, and stay until Ctrl-C, SIGTERM or the end of a process. The exit code.

    0 after a wish to stop; 1, with one clear line on standard error, when it cannot start or a process has ended.
    """
    # Also where a shell has us ignore SIGINT, as it does for commands in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run()
    except KeyboardInterrupt:
        print("\nmailbot has stopped.", file=sys.stderr)
        return 0
    except CannotStart as obstacle:
        print(obstacle, file=sys.stderr)
        return 1
    return 0


def _run() -> None:
    began = time.monotonic()
    check_folder()
    check_ports()
    check_settings()
    check_servers()
    migrate_if_needed()
    with Processes(settings.BASE_DIR, _environment()) as processes:
        credentials = prepare_credentials()
        wait_until_ready(processes)
        welcome(credentials, time.monotonic() - began)
        while not processes.wait(3600):
            pass
        raise _ended(processes)


def _environment() -> dict[str, str]:
    """The children read the same variables; what the Procfile's commands expand has to be there in any case."""
    quiet = {
        "MAILBOT_LOG_LEVEL": os.environ.get("MAILBOT_LOG_LEVEL", "WARNING"),
        # Celery's warning in eight lines at each start of a container, whose only user is root.
        "PYTHONWARNINGS": os.environ.get(
            "PYTHONWARNINGS", "ignore:You're running the worker with superuser privileges"
        ),
    }
    return child_environment(MAILBOT_HOST=settings.MAILBOT_HOST, MAILBOT_PORT=str(settings.MAILBOT_PORT), **quiet)


def wait_until_ready(processes: Processes) -> None:
    """Return once web, SMTP and worker do their work. Raises CannotStart when one ends or is late."""
    ring("delivery.tasks.process_inbound")
    waiting = _questions()
    deadline = time.monotonic() + READY_WITHIN
    while waiting:
        if processes.wait(LOOKS_EVERY):
            raise _ended(processes)
        if time.monotonic() > deadline:
            raise CannotStart(f"Not ready after {READY_WITHIN:.0f} s: {', '.join(waiting)}. What it said is above.")
        waiting = {name: question for name, question in waiting.items() if not question()}


def _questions() -> dict[str, Callable[[], bool]]:
    """By name of the process. Beat has none: it answers nobody."""
    broker = current_app.connection_for_write()
    return {
        "web": lambda: web_answers(ANY_HOST.get(settings.MAILBOT_HOST, settings.MAILBOT_HOST), settings.MAILBOT_PORT),
        "smtp": lambda: smtp_greets(ANY_HOST.get(settings.SMTP_HOST, settings.SMTP_HOST), settings.SMTP_PORT),
        "worker": lambda: bell_was_answered(broker, settings.CELERY_TASK_DEFAULT_QUEUE),
    }


def _ended(processes: Processes) -> CannotStart:
    name, code = processes.ended or ("honcho", 1)
    said = "\n".join(f"  {line}" for line in processes.last_lines[name])
    reason = f"{name} has ended by itself (exit code {code}), so mailbot stops."
    return CannotStart(f"{reason} Its last output:\n{said}" if said else f"{reason} It said nothing.")
