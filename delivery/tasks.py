"""Celery entry points. Each asks the rows what there is to do: a hint carries no work."""

from time import monotonic

from celery import shared_task
from django.utils import timezone

from audit.actors import acting_as_system
from delivery import retention_sweep
from delivery.erasing.asking import RUN
from delivery.erasing.working import run_erasures as have_a_turn
from delivery.heartbeat import note_heartbeat
from delivery.hooks import news
from delivery.hooks.fetched import KEPT_BY_ESPS
from delivery.inbound.process import process_inbound as process_batch
from delivery.models import InboundMail
from delivery.outbound import breaker_rounds, loop_guard
from delivery.outbound.fetching import ATTACHMENTS
from delivery.outbound.recent import forget_old
from delivery.outbound.send import give_up_stranded, send_due_mail
from delivery.outbound.unknown import OPEN_QUESTIONS
from delivery.raw_erasure import remove_leaving
from delivery.raw_mover import move_batch
from delivery.retention import remove_finished_rows, remove_old_provider_events, remove_old_raw
from delivery.slow_work import work_through
from delivery.storage_figures import count_storage
from delivery.suppression import remove_expired
from mailbot.lib.hints import ring
from threads.search_index import index_batch

BATCHES_PER_HINT = 50
HEARS_FOR = 20  # seconds, then others have a turn
# Seconds a minute. Mail needs the same workers: what is left is for the next minute, and one batch is enough while mail waits.
MOVES_FOR = 20
SWEEPS_FOR = 10
ERASES_FOR = 10
INDEXES_FOR = 4  # of each five seconds
INDEXED_AT_ONCE = 40  # messages, for which mail waits that comes meanwhile: some 50 ms


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


@shared_task
def look_after_breakers() -> None:
    with acting_as_system("breaker"):
        breaker_rounds.look_after_breakers()


@shared_task
def process_provider_events() -> None:
    with acting_as_system("provider events"):
        ends = monotonic() + HEARS_FOR
        while news.process_provider_events():
            if monotonic() > ends:
                ring(process_provider_events.name)
                return


@shared_task
def wait_for_others() -> None:
    """Attachments that are named by URL, mails that ESPs keep for us, and what became of unknown mail."""
    if work_through(ATTACHMENTS, KEPT_BY_ESPS, OPEN_QUESTIONS):
        ring(wait_for_others.name)


@shared_task
def move_raw() -> None:
    with acting_as_system("raw mover"):
        ends = monotonic() + MOVES_FOR
        while move_batch().goes_on and monotonic() < ends and not InboundMail.objects.due().exists():
            pass


@shared_task
def remove_raw() -> None:
    with acting_as_system("raw eraser"):
        ends = monotonic() + SWEEPS_FOR
        while monotonic() < ends and remove_leaving():
            pass


@shared_task
def sweep_storage() -> None:
    with acting_as_system("retention"):
        ends = monotonic() + SWEEPS_FOR
        while monotonic() < ends and remove_old_raw() + remove_finished_rows() + remove_old_provider_events():
            pass
        remove_leaving()
        count_storage()


@shared_task
def sweep_retention() -> None:
    with acting_as_system("retention"):
        retention_sweep.sweep()


@shared_task
def index_messages() -> None:
    """One batch while mail waits: it becomes searchable a little later, but it does."""
    with acting_as_system("search index"):
        ends = monotonic() + INDEXES_FOR
        while index_batch(most=INDEXED_AT_ONCE) and monotonic() < ends and not InboundMail.objects.due().exists():
            pass


@shared_task
def beat_heart() -> None:
    with acting_as_system("heartbeat"):
        note_heartbeat()


@shared_task
def forget_sends() -> None:
    with acting_as_system("retention"):
        ends = monotonic() + SWEEPS_FOR
        while monotonic() < ends and forget_old() + loop_guard.forget_old(timezone.now()):
            pass


@shared_task
def sweep_suppressions() -> None:
    with acting_as_system("retention"):
        ends = monotonic() + SWEEPS_FOR
        while monotonic() < ends and remove_expired():
            pass


@shared_task
def run_erasures() -> None:
    """A turn; where there is more to do, others who wait for this worker have one first."""
    with acting_as_system("eraser"):
        has_more = have_a_turn(ERASES_FOR)
    if has_more:
        ring(RUN)
