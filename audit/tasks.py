"""Celery entry points."""

from celery import shared_task

from audit import anchors, sealing
from audit.actors import acting_as_system

SEALS_FOR = 20.0  # seconds, then others have a turn


@shared_task
def seal_trail() -> None:
    with acting_as_system("sealer"):
        sealing.seal(SEALS_FOR)


@shared_task
def post_heads() -> None:
    with acting_as_system("sealer"):
        anchors.post_heads()
