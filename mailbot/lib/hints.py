"""Ringing the doorbell: telling a worker that there may be work.

A hint carries nothing but the name of a task. Losing one costs time, never work: the rows are the queue and a sweep reads them.
"""

import logging

from celery import current_app
from django.db import transaction
from kombu.exceptions import KombuError

log = logging.getLogger(__name__)


def ring(task: str) -> None:
    """Ask a worker to run `task` soon. Never raises and never retries: a broker that is gone must not fail the caller."""
    try:
        current_app.send_task(task, ignore_result=True, expires=60)
    except (KombuError, OSError) as error:
        log.warning("No hint for %s: the broker cannot be reached (%s). The sweep will find the work.", task, error)


def ring_on_commit(task: str) -> None:
    """The same, once the caller's transaction is committed: before that a worker would look and see nothing."""
    transaction.on_commit(lambda: ring(task), robust=True)
