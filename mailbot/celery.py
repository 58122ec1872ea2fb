"""The Celery application. Its broker is a doorbell: the rows in the database are the queue."""

import os

from celery import Celery
from django.conf import settings

from mailbot.lib import filesystem_broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailbot.settings")

filesystem_broker.register()
app = Celery("mailbot")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_configure.connect
def make_broker_folders(**_: object) -> None:
    """The filesystem broker does not make its own folders. With Redis there is nothing to make."""
    if not settings.REDIS_URL:
        (settings.BROKER_FOLDER / "control").mkdir(parents=True, exist_ok=True)
