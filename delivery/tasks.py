"""Celery entry points. Each asks the rows what there is to do: a hint carries no work."""

from celery import shared_task

from audit.actors import acting_as_system
from delivery.inbound.process import process_inbound as process_batch
from delivery.outbound.send import give_up_stranded, send_due_mail
from mailbot.lib.hints import ring

BATCHES_PER_HINT = 50


@shared_task
def process_inbound() -> None:
    with acting_as_system("inbound worker"):
        for _ in range(BATCHES_PER_HINT):
            if not process_batch():
                return
    ring(process_inbound.name)


@shared_task
def send_outbound() -> None:
    with acting_as_system("outbound worker"):
        for _ in range(BATCHES_PER_HINT):
            if not send_due_mail():
                return
    ring(send_outbound.name)


@shared_task
def sweep_outbound() -> None:
    with acting_as_system("outbound worker"):
        give_up_stranded()
        send_due_mail()
