"""Handing mails over, several at once: threads that talk to providers and touch no database."""

import logging
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from functools import cache
from time import monotonic
from typing import NamedTuple

from django.conf import settings
from django.utils import timezone
from structlog.contextvars import bound_contextvars

from audit.actors import acting_for_request
from delivery.models import OutboundMail
from delivery.outbound.outcomes import Outcome, Result
from delivery.outbound.providers import Carrier, DjangoBackend, EspCarrier
from delivery.outbound.sandbox import Sandbox
from inboxes.models import Mode
from mailbot.lib import metrics
from mailbot.lib.failpoints import failpoint

log = logging.getLogger(__name__)

LOOKS_EVERY = 0.2  # seconds: what came due meanwhile need not wait for a provider that is slow


class Handed(NamedTuple):
    mail: OutboundMail
    outcome: Outcome
    carrier: str
    started_at: datetime
    seconds: float | None  # None: it was handed to nobody


def esp_of(mail: OutboundMail) -> str:
    """Whose service it leaves by, for figures: a name of ours and no tenant's."""
    if mail.mode == Mode.TEST:
        return "sandbox"
    return mail.carrier.esp if mail.carrier else "default"


def carrier_for(mail: OutboundMail) -> Carrier:
    """What is sent from the sandbox never reaches a provider."""
    if mail.mode == Mode.TEST:
        return Sandbox()
    return EspCarrier(mail.carrier) if mail.carrier else DjangoBackend(settings.EMAIL_BACKEND)


def hand_over(mail: OutboundMail, carrier: Carrier) -> Handed:
    """Also in a thread that has no context of its own: what is logged in between is about this mail."""
    started_at, began = timezone.now(), monotonic()
    failpoint("send.claimed")
    with acting_for_request(mail.request_id), bound_contextvars(mail_id=mail.pk, inbox_id=mail.inbox_id):
        try:
            outcome = carrier.send(mail, mail.remaining())
        except Exception as error:  # a fault of ours, before anything was handed over or after it
            log.exception("Handing over %s", mail.pk)
            outcome = Outcome(Result.UNKNOWN, f"{type(error).__name__}: {error}")
    failpoint("send.handed-over")
    seconds = monotonic() - began
    metrics.note_handed_over(esp_of(mail), outcome.result.value, seconds)
    return Handed(mail, outcome, carrier.name, started_at, seconds)


class Sending:
    """The mails that are on their way. With no threads each is handed over where it is started; so is one for the sandbox, which is this
    server and has to do with the database."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._done: list[Handed] = []
        self._futures: set[Future[Handed]] = set()

    @property
    def room(self) -> int:
        return max(self._threads, 1) - len(self._futures) - len(self._done)

    @property
    def worth_a_claim(self) -> int:
        """A claim costs the same for one mail as for many."""
        return max(1, self._threads // 4)

    @property
    def is_busy(self) -> bool:
        return bool(self._futures or self._done)

    def start(self, mail: OutboundMail) -> None:
        carrier = carrier_for(mail)
        if self._threads and not isinstance(carrier, Sandbox):
            self._futures.add(_pool(self._threads).submit(hand_over, mail, carrier))
        else:
            self._done.append(hand_over(mail, carrier))

    def finished(self) -> Iterator[Handed]:
        """Those that are there by now, or soon."""
        done, self._done = self._done, []
        yield from done
        if self._futures:
            finished, self._futures = wait(self._futures, LOOKS_EVERY, FIRST_COMPLETED)
            for future in finished:
                yield future.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Of this process, for as long as it lives: each thread keeps its connections to providers."""
    return ThreadPoolExecutor(threads, "send")
