"""What a Celery worker does with its database connection between tasks.

Celery's own fix-up closes the connection before and after each task, and under prefork psycopg's pool with it: each hint then waited 20 ms
for a pool, its threads and a new process of PostgreSQL, and on SQLite 1 ms for opening the file. Here a pooled connection goes back to
its pool, which looks whether it still works before it gives it out again; another one stays open unless it failed.
"""

from typing import Any

from celery import Celery
from celery.fixups.django import DjangoFixup, DjangoWorkerFixup  # type: ignore[attr-defined]  # celery-types lacks it
from django.db import connections


class KeepingWorkerFixup(DjangoWorkerFixup):  # type: ignore[misc]
    def close_database(self, **_: Any) -> None:
        for connection in connections.all(initialized_only=True):
            if connection.settings_dict["OPTIONS"].get("pool") or connection.errors_occurred:
                connection.close()


class KeepingFixup(DjangoFixup):
    _worker_fixup: DjangoWorkerFixup | None

    @property
    def worker_fixup(self) -> DjangoWorkerFixup:
        if self._worker_fixup is None:
            self._worker_fixup = KeepingWorkerFixup(self.app)
        return self._worker_fixup


def fixup(app: Celery) -> DjangoFixup:
    """For `Celery(fixups=[…])`. A pool that a process was forked with is still closed by Celery, when the process begins."""
    kept = KeepingFixup(app)
    kept.install()
    return kept
