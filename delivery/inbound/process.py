"""From a stored delivery to messages in inboxes.

Rows are claimed in batches, read without any transaction, and filed in one. A mail that breaks its batch is tried alone, with
growing pauses, and then kept as `failed`: visible in the console, retryable, never in the way of the others.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_address

from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from audit.record import Act, Entry, record, record_many
from delivery.claims import claim_many, new_token
from delivery.inbound.lanes import release_lanes, take_lanes
from delivery.inbound.receive import PROCESS_TASK
from delivery.models import InboundMail
from mailbot.lib.hints import ring_on_commit
from threads.conversation import Incoming, file_incoming
from threads.reading import MailContent, read_mail

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)
BATCH = 100
BATCH_OCTETS = 32 * 1024 * 1024
# After how long a mail that could not be processed is tried again; then it is failed.
RETRY_AFTER = (timedelta(seconds=2), timedelta(seconds=30), timedelta(minutes=5))


def process_inbound(limit: int = BATCH) -> int:
    """Process one batch of due mail; how many rows it took. Safe to call at any time, from any process."""
    token = new_token()
    with transaction.atomic():  # one commit for lanes and mails: on SQLite each waits for the disk
        lanes = take_lanes(token, LEASE)
        due = InboundMail.objects.due().filter(lane__in=lanes)
        mails = claim_many(due, _batch(due, limit), state=InboundMail.State.PROCESSING, lease=LEASE) if lanes else []
    try:
        if mails:
            _process(mails)
    finally:
        if lanes:
            release_lanes(token)
    return len(mails)


def _batch(due: QuerySet[InboundMail], limit: int) -> list[str]:
    """The oldest ones, up to `limit` and up to BATCH_OCTETS together, but at least one."""
    chosen: list[str] = []
    octets = 0
    for mail_id, size in due.order_by("pk").values_list("pk", "size")[:limit]:
        octets += size
        if chosen and octets > BATCH_OCTETS:
            break
        chosen.append(mail_id)
    return chosen


def _process(mails: Sequence[InboundMail]) -> None:
    """The whole batch at once; when that fails each mail alone, so that one poison mail costs the others nothing but time."""
    try:
        _file(mails)
    except (OperationalError, InterfaceError):
        raise  # the database is in trouble, not a mail: the lease runs out and the batch is taken again
    except Exception as error:
        if len(mails) == 1:
            return _put_back(mails[0], error)
        log.warning(
            "A batch of %d mails failed (%s: %s); each is tried alone.", len(mails), type(error).__name__, error
        )
        for mail in mails:
            _process([mail])


def _file(mails: Sequence[InboundMail]) -> None:
    read = [(mail, read_mail(bytes(mail.raw))) for mail in mails]
    with transaction.atomic():
        file_incoming([incoming for mail, content in read for incoming in _incoming(mail, content)])
        _finish(mails)


def _incoming(mail: InboundMail, content: MailContent) -> list[Incoming]:
    """One for each inbox that is addressed, however many of its spellings stood in RCPT."""
    tags = {recipient["inbox_id"]: recipient.get("tag", "") for recipient in reversed(mail.recipients)}
    return [
        Incoming(
            inbox_id=inbox_id,
            content=content,
            raw_sha256=mail.sha256,
            size=mail.size,
            received_at=mail.received_at,
            source_id=mail.pk,
            tag=tag,
            envelope_sender=mail.envelope_sender,
            remote_addr=_address(mail.remote_addr),
        )
        for inbox_id, tag in reversed(tags.items())
    ]


def _address(peer: str) -> str:
    """An address that PostgreSQL's inet takes (a link-local one comes with its interface), or nothing."""
    try:
        return str(ip_address(peer.partition("%")[0]))
    except ValueError:
        return ""


def _finish(mails: Sequence[InboundMail]) -> None:
    """Fenced: a row that another worker took meanwhile undoes our transaction, and with it a second filing."""
    ours = InboundMail.objects.filter(pk__in=[mail.pk for mail in mails], lease_token=mails[0].lease_token)
    state = InboundMail.State.PROCESSED
    done = ours.update(state=state, processed_at=timezone.now(), error="", lease_token="", lease_until=None)
    if done != len(mails):
        raise LeaseLost(f"{len(mails) - done} of {len(mails)} mails were taken by another worker.")


class LeaseLost(DatabaseError):
    """We were too slow: others have what we held."""


def _put_back(mail: InboundMail, error: Exception) -> None:
    if isinstance(error, LeaseLost):
        return
    log.exception("Inbound mail %s could not be processed", mail.pk, exc_info=error)
    number = mail.attempts
    failed = number >= len(RETRY_AFTER)
    reason = f"{type(error).__name__}: {error}".replace("\0", "�")[:2000]
    with transaction.atomic():
        InboundMail.objects.filter(pk=mail.pk, lease_token=mail.lease_token).update(
            state=InboundMail.State.FAILED if failed else InboundMail.State.STORED,
            attempts=F("attempts") + 1,
            next_attempt_at=timezone.now() + (timedelta() if failed else RETRY_AFTER[number]),
            error=reason,
            lease_token="",
            lease_until=None,
        )
        if failed:
            record(Act.INBOUND_FAILED, mail, account_id="", changes={"error": reason})


@transaction.atomic
def retry_failed(mails: Sequence[InboundMail]) -> int:
    """An operator's button: give failed mails their attempts back. How many there were."""
    failed = InboundMail.objects.filter(pk__in=[mail.pk for mail in mails], state=InboundMail.State.FAILED)
    record_many(Entry(Act.INBOUND_RETRIED, mail, "") for mail in failed.defer("raw"))
    ring_on_commit(PROCESS_TASK)
    return failed.update(state=InboundMail.State.STORED, attempts=0, next_attempt_at=timezone.now())
