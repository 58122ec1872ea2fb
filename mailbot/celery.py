"""The Celery application. Its broker is a doorbell: the rows in the database are the queue."""

import logging
import os
from typing import Any, Self

import kombu
from celery import Celery, signals
from celery.app.amqp import AMQP
from django.conf import settings

from mailbot.lib import filesystem_broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailbot.settings")
log = logging.getLogger(__name__)


class PatientConnection(kombu.Connection):
    """Celery waits longer and longer for a broker that is away, up to 30 s, and has no setting for it: we look each second."""

    def ensure_connection(self, *args: Any, **options: Any) -> Self:
        super().ensure_connection(
            *args, **{"interval_start": 0.5, "interval_step": 0.5, "interval_max": 1.0, **options}
        )
        return self

    def maybe_close_channel(self, channel: Any) -> None:
        """When a Redis channel closes, kombu gives back what was not finished, for which it may look for a connection that is gone already.
        That is no error of a connection to it, and would end the worker. What is lost are hints, and the sweep finds their work."""
        try:
            super().maybe_close_channel(channel)
        except AttributeError as error:
            log.warning("A channel of the broker was left as it was: %s", error)


class PatientAMQP(AMQP):
    Connection = PatientConnection


filesystem_broker.register()
app = Celery("mailbot", amqp=PatientAMQP, fixups=["mailbot.lib.celery_connections:fixup"])
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_configure.connect
def make_broker_folders(**_: object) -> None:
    """The filesystem broker does not make its own folders. With Redis there is nothing to make."""
    if not settings.REDIS_URL:
        (settings.BROKER_FOLDER / "control").mkdir(parents=True, exist_ok=True)


@signals.setup_logging.connect
def leave_logging_as_it_is(**_: object) -> None:
    """Django has set it up. Without a receiver here Celery would set the root's level to that of its command line."""
