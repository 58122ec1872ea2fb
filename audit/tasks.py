"""Celery entry points."""

import logging

from celery import shared_task

from audit import anchors, exports, last_verification, months, sealing
from audit.actors import acting_as_system
from audit.signing import KeyRefused
from mailbot.lib import hints

log = logging.getLogger(__name__)

SEALS_FOR = 20.0  # seconds, then others have a turn
EXPORTS_FOR = 20.0  # the same
VERIFIES_FOR = 20.0  # the same


@shared_task
def seal_trail() -> None:
    with acting_as_system("sealer"):
        try:
            sealing.seal(SEALS_FOR)
        except KeyRefused as refusal:
            log.error("The audit log is not sealed: %s", refusal)


@shared_task
def post_heads() -> None:
    with acting_as_system("sealer"):
        anchors.post_heads()


@shared_task
def make_exports() -> None:
    """A turn; where there is more to do, others who wait for this worker have one first."""
    with acting_as_system("exporter"):
        has_more = exports.make_exports(EXPORTS_FOR)
    if has_more:
        hints.ring(exports.MAKE)


@shared_task
def expire_exports() -> None:
    with acting_as_system("schedule"):
        exports.expire_exports()


@shared_task
def verify_trails() -> None:
    with acting_as_system("verifier"):
        last_verification.verify_trails(VERIFIES_FOR)


@shared_task
def make_months() -> None:
    with acting_as_system("schedule"):
        months.make_months()
