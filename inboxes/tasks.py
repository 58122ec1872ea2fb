"""Celery entry points."""

from celery import shared_task

from audit.actors import acting_as_system
from inboxes.provisioning import expire_inboxes as end_expired_inboxes


@shared_task
def expire_inboxes() -> None:
    with acting_as_system("schedule"):
        end_expired_inboxes()
