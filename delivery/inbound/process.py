"""From a stored delivery to messages in inboxes.

Rows are claimed in batches, read without any transaction, and filed in one. A mail that breaks its batch is tried alone, with
growing pauses, and then kept as `failed`: visible in the console, retryable, never in the way of the others.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from audit.record import Act, Entry, record, record_many
from delivery.claims import new_token
from delivery.inbound.authentication.batch import authenticate
from delivery.inbound.claim import LEASE, claim_batch
from delivery.inbound.lanes import release_lanes
from delivery.inbound.receive import PROCESS_TASK
from delivery.inbound.rehearsal import rehearse
from delivery.inbound.reports import read_report
from delivery.inbound.reports.matching import Arrived, match_reports
from delivery.inbound.reports.news import apply_matched, reporting
from delivery.inbound.reports.signs import is_from_nobody, may_report
from delivery.models import InboundMail
from delivery.raw import RawGone, raw_in_store
from delivery.raw_erasure import let_go
from delivery.unsubscribing import unsubscribe_by_mail
from inboxes.models import Inbox
from mailbot.lib import metrics
from mailbot.lib.clock import database_now
from mailbot.lib.disk_full import is_disk_full
from mailbot.lib.failpoints import failpoint
from mailbot.lib.hints import ring_on_commit
from mailbot.lib.object_store import StoreUnavailable
from mailbot.lib.transactions import quick_commit
from threads.authenticity import Authenticity
from threads.conversation import Incoming, attachments_kept, file_incoming
from threads.reading import MailContent, read_mail

log = logging.getLogger(__name__)

BATCH = 100
# Seconds. What a batch has left by then goes back, so that its lease is not lost.
READS_FOR = LEASE.total_seconds() / 3
AUTHENTICATES_FOR = LEASE.total_seconds() / 5
# After how long a mail that could not be processed is tried again; then it is failed.
RETRY_AFTER = tuple(timedelta(seconds=pause) for pause in settings.INBOUND_RETRY_AFTER)
STORE_PAUSE = timedelta(minutes=1)  # until a mail is tried again whose bytes the store did not give
WAITS_FOR_STORE = "Waits for the object store: "
# How often a mail is claimed that can be read: who took it may have been killed for reasons of others, but not for ever.
MAX_CLAIMS = 20


def process_inbound(limit: int = BATCH) -> int:
    """Process one batch of due mail; how many rows it took. Safe to call at any time, from any process."""
    token = new_token()
    mails = claim_batch(token, limit)
    if not mails:
        return 0
    try:
        failpoint("inbound.claimed")
        _process(_harmless(_with_raw(mails)))
    except BaseException:
        release_lanes(token, but=_still_claimed(mails))
        raise
    with quick_commit():
        release_lanes(token)
    return len(mails)


def _still_claimed(mails: Sequence[InboundMail]) -> set[int]:
    """Lanes of mail that could not even be given back: both wait until our lease is over, so that nothing overtakes it."""
    ours = InboundMail.objects.filter(pk__in=[mail.pk for mail in mails], lease_token=mails[0].lease_token)
    return set(ours.values_list("lane", flat=True))


def _with_raw(mails: list[InboundMail]) -> list[InboundMail]:
    """Those whose bytes can be had. Large mail has them in the object store; while that is away it waits, and nobody else does."""
    found = []
    for mail in mails:
        try:
            if not mail.raw_in_row:
                mail.raw = raw_in_store(mail.pk)
        except StoreUnavailable as error:
            _wait_for_store(mail, error)
        except RawGone as error:
            _put_back(mail, error)
        else:
            found.append(mail)
    return found


def _wait_for_store(mail: InboundMail, error: StoreUnavailable) -> None:
    log.warning("Inbound mail %s waits for the object store: %s", mail.pk, error)
    _let_go(
        [mail],
        attempts=Greatest(F("attempts") - 1, 1),  # new mail is due at once
        next_attempt_at=database_now() + min(STORE_PAUSE, RETRY_AFTER[-1]),
        error=f"{WAITS_FOR_STORE}{error}"[:2000],
    )


def _let_go(mails: Sequence[InboundMail], **columns: Any) -> None:
    """What we claimed, and nobody has taken from us meanwhile, waits again, or is as `columns` say."""
    ours = InboundMail.objects.filter(pk__in=[mail.pk for mail in mails], lease_token=mails[0].lease_token)
    ours.update(**{"state": InboundMail.State.STORED, "lease_token": "", "lease_until": None, **columns})


def _harmless(mails: list[InboundMail]) -> list[InboundMail]:
    """Those that end nobody. When one of them was claimed before and may have ended who read it, all are read elsewhere first."""
    if all(mail.attempts == 1 for mail in mails):
        return mails
    if mails[0].attempts > MAX_CLAIMS:
        _put_back(mails[0], WorkerLost("Every worker that took it ended or ran out of time."))
        return []
    harmless: list[InboundMail] = []
    rest = mails
    ends = monotonic() + READS_FOR / 2
    while rest and (rest is mails or monotonic() < ends):
        number, blame = rehearse([bytes(mail.raw) for mail in rest], READS_FOR)
        harmless += rest[:number]
        if not blame:
            rest = rest[number:]
            break
        _put_back(rest[number], WorkerLost(blame))
        rest = rest[number + 1 :]
    _give_back(rest, claims_left=1)
    return harmless


def _process(mails: Sequence[InboundMail]) -> None:
    """The whole batch at once; when that fails each mail alone, so that one poison mail costs the others nothing but time."""
    if not mails:
        return
    try:
        _file(mails)
    except (OperationalError, InterfaceError):  # the database is in trouble, not a mail
        _give_back(mails)
        raise
    except LeaseLost as error:  # whoever has our lanes now files all of it, in order
        log.warning("A batch of %d mails is left to another worker: %s", len(mails), error)
    except Exception as error:
        # The folder of the attachments is full, or the object store is away: no fault of a mail either.
        if is_disk_full(error) or isinstance(error, StoreUnavailable):
            _give_back(mails)
            raise
        if len(mails) == 1:
            _put_back(mails[0], error)
            return
        log.warning(
            "A batch of %d mails failed (%s: %s); each is tried alone.", len(mails), type(error).__name__, error
        )
        for mail in mails:
            _process([mail])


def _file(mails: Sequence[InboundMail]) -> None:
    read = _read(mails)
    _give_back(mails[len(read) :])
    taken = [mail for mail, _ in read]
    known = authenticate([(mail, content.parsed) for mail, content in read], AUTHENTICATES_FOR)
    reports = [report for mail, content in read for report in _reports(mail, content)]
    arrived = [
        incoming
        for (mail, content), authenticity in zip(read, known, strict=True)
        for incoming in _incoming(mail, content, authenticity)
    ]
    with attachments_kept(arrived):
        matched = match_reports(reports)
        about = {each.key: reporting(each, matched[each.key]) for each in reports if each.key in matched}
        messages = file_incoming(
            [replace(incoming, report=about.get((incoming.source_id, incoming.inbox_id))) for incoming in arrived]
        )
        apply_matched(reports, matched, {(message.source_id, message.inbox_id): message.pk for message in messages})
        unsubscribe_by_mail(messages)
        failpoint("inbound.filed")
        _finish(taken)
        _forget_purged(taken, {message.source_id for message in messages})
    metrics.note_processed("processed", len(taken))


def _read(mails: Sequence[InboundMail]) -> list[tuple[InboundMail, MailContent]]:
    """As many as can be read in READS_FOR seconds, but at least one."""
    read: list[tuple[InboundMail, MailContent]] = []
    ends = monotonic() + READS_FOR
    for mail in mails:
        if read and monotonic() > ends:
            break
        failpoint("inbound.reading", mail.raw)
        read.append((mail, read_mail(bytes(mail.raw))))
    return read


def _reports(mail: InboundMail, content: MailContent) -> list[Arrived]:
    """The mail as what it reports, once for each inbox; nothing for nearly all mail, which is not read a second time."""
    has_bounce_tag = any(recipient.get("tag", "").startswith("b.") for recipient in mail.recipients)
    if not may_report(mail.envelope_sender, mail.source, content.parsed.headers, has_bounce_tag):
        return []
    report = read_report(bytes(mail.raw))
    nobody = is_from_nobody(mail.envelope_sender, mail.source)
    tags = {item["inbox_id"]: item.get("tag", "") for item in reversed(mail.recipients)}
    return [Arrived((mail.pk, inbox_id), inbox_id, tag, report, nobody) for inbox_id, tag in tags.items()]


def _give_back(mails: Sequence[InboundMail], claims_left: int = 0) -> None:
    """What we claimed and did not get to is as it was before, but with so many claims at least, which make it suspect.

    When even that fails, the lease runs out.
    """
    if mails:
        _let_go(mails, attempts=Greatest(F("attempts") - 1, claims_left))


def _forget_purged(mails: Sequence[InboundMail], sources: set[str]) -> None:
    """A mail of which no inbox made a message, because all it was addressed to are purged, keeps no bytes either, wherever they are."""
    silent = [mail for mail in mails if mail.pk not in sources]  # repeated deliveries, mostly
    named = {recipient["inbox_id"] for mail in silent for recipient in mail.recipients}
    if not named:
        return
    keeping = set(Inbox.objects.filter(pk__in=named, purged_at=None).values_list("pk", flat=True))
    gone = [mail.pk for mail in silent if not any(item["inbox_id"] in keeping for item in mail.recipients)]
    InboundMail.objects.filter(pk__in=gone).update(
        state=InboundMail.State.REJECTED, error="inbox purged", raw=b"", raw_in_row=False
    )
    if in_store := {mail.pk for mail in mails if not mail.raw_in_row}.intersection(gone):
        let_go(in_store)


def _incoming(mail: InboundMail, content: MailContent, authenticity: Authenticity) -> list[Incoming]:
    """One for each inbox that is addressed, however many of its spellings stood in RCPT."""
    tags = {recipient["inbox_id"]: recipient.get("tag", "") for recipient in reversed(mail.recipients)}
    return [
        Incoming(
            inbox_id=inbox_id,
            content=content,
            raw_sha256=mail.sha256,
            size=mail.size,
            source_id=mail.pk,
            tag=tag,
            envelope_sender=mail.envelope_sender,
            remote_addr=_address(mail.remote_addr),
            source=mail.source,
            fidelity=mail.fidelity,
            authenticity=authenticity,
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


class WorkerLost(Exception):
    """The mail has ended the process that read it, or was claimed as often as it may be and no worker came back."""


def _put_back(mail: InboundMail, error: Exception) -> None:
    """Claims before its first error were no tries: whoever took the mail then was killed for reasons of others. Nor is an error that it
    had to wait for the object store."""
    log.exception("Inbound mail %s could not be processed", mail.pk, exc_info=error)
    is_first = not mail.error or mail.error.startswith(WAITS_FOR_STORE)
    attempts = 1 if is_first and mail.attempts <= MAX_CLAIMS else mail.attempts
    failed = attempts > len(RETRY_AFTER)
    reason = f"{type(error).__name__}: {error}".replace("\0", "�")[:2000]
    with transaction.atomic():
        _let_go(
            [mail],
            state=InboundMail.State.FAILED if failed else InboundMail.State.STORED,
            attempts=attempts,
            next_attempt_at=database_now() + (timedelta() if failed else RETRY_AFTER[attempts - 1]),
            error=reason,
        )
        if failed:
            record(Act.INBOUND_FAILED, mail, account_id="", changes={"error": reason})
    metrics.note_processed("failed" if failed else "retried")


@transaction.atomic
def retry_failed(mails: Sequence[InboundMail], reason: str = "") -> int:
    """An operator's button: give failed mails their attempts back. How many there were."""
    failed = InboundMail.objects.filter(pk__in=[mail.pk for mail in mails], state=InboundMail.State.FAILED)
    about = {"reason": reason} if reason else {}
    record_many(Entry(Act.INBOUND_RETRIED, mail, "", changes=about) for mail in failed.defer("raw"))
    ring_on_commit(PROCESS_TASK)
    return failed.update(state=InboundMail.State.STORED, attempts=0, next_attempt_at=timezone.now())
