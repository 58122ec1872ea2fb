"""The Celery application. Its broker is a doorbell: the rows in the database are the queue."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailbot.settings")

app = Celery("mailbot")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
