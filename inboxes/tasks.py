"""Celery entry points."""

from celery import shared_task

from audit.actors import acting_as_system
from inboxes import domain_checks, expiry, quotas, sending_record
from inboxes.idempotency import forget_expired


@shared_task
def expire_inboxes() -> None:
    with acting_as_system("schedule"):
        expiry.sweep_expired()


@shared_task
def sweep_quotas() -> None:
    with acting_as_system("schedule"):
        quotas.sweep_quotas()


@shared_task
def forget_answers() -> None:
    with acting_as_system("schedule"):
        forget_expired()


@shared_task
def check_domains() -> None:
    with acting_as_system("schedule"):
        domain_checks.sweep_domains()


@shared_task
def sweep_sending_record() -> None:
    with acting_as_system("schedule"):
        sending_record.sweep()
