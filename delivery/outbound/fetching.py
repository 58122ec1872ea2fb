"""Fetching the attachments that a mail names by URL, after it was accepted and before it is queued: state `preparing`.

Nothing has been handed to anybody by then, so a mail whose worker died is simply prepared again. Its Message-ID and Date were fixed when
it was accepted. All network is in threads of their own, which touch no database.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit.actors import acting_for_request
from audit.record import Act, record
from delivery.claims import claim, release
from delivery.engagement.choosing import Tracking
from delivery.models import OutboundMail
from delivery.outbound.compose import MEDIA_TYPE, OutgoingAttachment, compose
from delivery.outbound.outcomes import Report
from delivery.outbound.queue import SEND_TASK, Blocked, check_room, why_not_send
from delivery.outbound.states import State
from delivery.outbound.tracking import apply_reports
from delivery.slow_work import Source
from mailbot.lib.clock import database_now
from mailbot.lib.hints import ring_on_commit
from mailbot.lib.object_store import StoreUnavailable
from mailbot.lib.safe_fetch import FetchFailed, fetch
from threads import attachments as files
from threads.conversation import complete_outgoing
from threads.events import EventType
from threads.mime import ParsedAttachment
from threads.models import Message

log = logging.getLogger(__name__)

AT_ONCE = 8  # mails
AT_ONCE_OF_AN_ACCOUNT = 2
SECONDS = 20.0  # for all attachments of a mail
LEASE = timedelta(seconds=90)
# Seconds until the next try, after the first one that failed for now, the second, …; then the mail has failed.
RETRY_AFTER = (10, 60, 300, 900, 1800)
JITTER = 0.2
Files = list[OutgoingAttachment]
Outcome = TypeVar("Outcome")


def _next(flying: Collection[OutboundMail]) -> OutboundMail | None:
    """The oldest that is due and may go on, of an account that has few on their way."""
    many = Counter(mail.account_id for mail in flying)
    full = [account for account, count in many.items() if count >= AT_ONCE_OF_AN_ACCOUNT]
    while True:
        due = OutboundMail.objects.to_prepare().exclude(account_id__in=full).order_by("next_attempt_at", "pk")
        pk = due.values_list("pk", flat=True).first()
        if pk is None:
            return None
        mail = claim(OutboundMail.objects.to_prepare(), pk, state=State.PREPARING, lease=LEASE)
        if mail and _alone(mail, _may_go_on, mail):
            return mail


def _settle_alone(mail: OutboundMail, found: Files | FetchFailed) -> None:
    _alone(mail, _settle, mail, found)


def _alone(mail: OutboundMail, step: Callable[..., Outcome], *arguments: Any) -> Outcome | None:
    """Whatever this mail makes of the step, it alone suffers: it would come first again, and nothing behind it would ever be prepared."""
    with acting_for_request(mail.request_id):
        try:
            return step(*arguments)
        except Exception as error:
            log.exception("Preparing %s", mail.pk)
            _failed(mail, FetchFailed(f"It could not be prepared: {type(error).__name__}.", is_temporary=True))
            return None


def _may_go_on(mail: OutboundMail) -> bool:
    try:
        why_not_send(mail.inbox, mail.created_at)
    except Blocked as blocked:
        _end(mail, State.BLOCKED, EventType.MESSAGE_BLOCKED, blocked.detail)
        return False
    return True


def _fetch_all(mail: OutboundMail) -> Files | FetchFailed:
    """All of them or none. In a thread: no database."""
    ends = monotonic() + SECONDS
    room = settings.SMTP_MAX_SIZE * 3 // 4 - len(mail.raw)  # base64 makes four octets of three
    found: Files = []
    try:
        for wanted in _wanted(mail):
            got = fetch(wanted.url, most=room, seconds=ends - monotonic())
            room -= len(got.content)
            kind = wanted.content_type or _media_type(got.content_type)
            found.append(replace(wanted, content=got.content, content_type=kind))
    except FetchFailed as failed:
        return failed
    except Exception as error:  # whatever a foreign server made of it: this mail alone must suffer
        log.exception("Fetching attachments of %s", mail.pk)
        return FetchFailed(f"{type(error).__name__}: {error}")
    return found


def _media_type(told: str) -> str:
    return told if MEDIA_TYPE.fullmatch(told) else "application/octet-stream"


def _wanted(mail: OutboundMail) -> Files:
    told: dict[str, Any] = mail.to_fetch or {"attachments": []}
    return [
        OutgoingAttachment(item["filename"], item["content_type"], b"", item["content_id"], item["url"])
        for item in told["attachments"]
    ]


def _settle(mail: OutboundMail, found: Files | FetchFailed) -> None:
    if isinstance(found, FetchFailed):
        _failed(mail, found)
        return
    try:
        _queue(mail, found)
    except Blocked as blocked:
        _end(mail, State.BLOCKED, EventType.MESSAGE_BLOCKED, blocked.detail)
    except StoreUnavailable as error:
        _failed(mail, FetchFailed(f"The object store cannot be used: {error}", is_temporary=True))


def _failed(mail: OutboundMail, failure: FetchFailed) -> None:
    if not failure.is_temporary or mail.attempts >= len(RETRY_AFTER):
        _end(mail, State.FAILED, EventType.MESSAGE_FAILED, str(failure))
        return
    pause = timedelta(seconds=RETRY_AFTER[mail.attempts] * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311
    columns = {"attempts": mail.attempts + 1, "next_attempt_at": database_now() + pause, "error": str(failure)[:2000]}
    release(mail, **columns)


def _queue(mail: OutboundMail, fetched: Files) -> None:
    """Compose it anew with everything, and let it go. Raises Blocked."""
    message = mail.message
    told: dict[str, Any] = mail.to_fetch or {}
    page = Tracking(**told.get("tracking", {})).page(message)
    raw = compose(message, [*_kept(message), *fetched], told["headers"], _date(message), page).raw
    if len(raw) > settings.SMTP_MAX_SIZE:
        _end(mail, State.FAILED, EventType.MESSAGE_FAILED, f"With its attachments it would have {len(raw):,} octets.")
        return
    check_room(mail.inbox, len(raw), has_files=True)
    with files.kept((mail.account_id, file.content) for file in fetched):
        due = max(database_now(), _date(message)) if message.status == Message.Status.SCHEDULED else database_now()
        columns = {
            "state": State.QUEUED,
            "raw": raw,
            "to_fetch": None,
            "attempts": 0,
            "error": "",
            "next_attempt_at": due,
        }
        if not release(mail, **columns):
            log.warning("Outbound mail %s: our lease is over, what was fetched is not kept.", mail.pk)
            return
        # The mail's row first and its inbox then, as everybody who settles or cancels one.
        complete_outgoing(message, _rows(message, fetched), len(raw))
        ring_on_commit(SEND_TASK)


def _date(message: Message) -> Any:
    return message.sent_at or message.created_at


def _kept(message: Message) -> Files:
    """What came with the request."""
    rows = message.attachments.order_by("position")
    return [OutgoingAttachment(row.filename, row.content_type, files.content_of(row), row.content_id) for row in rows]


def _rows(message: Message, fetched: Sequence[OutgoingAttachment]) -> list[Any]:
    """Behind those that came with the request."""
    parsed = [
        ParsedAttachment(
            filename=file.filename,
            content_type=file.content_type,
            content=file.content,
            content_id=file.content_id,
            disposition="inline" if file.content_id else "attachment",
        )
        for file in fetched
    ]
    rows = files.attachment_rows(message, parsed)
    for row in rows:
        row.position += message.attachment_count
    return rows


@transaction.atomic
def _end(mail: OutboundMail, state: State, event: EventType, reason: str) -> None:
    """It will not be sent, and why: the row, its recipients, their events, the trail."""
    columns = {"state": state, "error": reason[:2000], "finished_at": timezone.now(), "to_fetch": None}
    if not release(mail, **columns):
        return
    addresses = [recipient.address for recipient in mail.remaining()]
    apply_reports(mail, [Report(event, address, reason[:500]) for address in addresses])
    changes = {"recipients": addresses, "subject": mail.message.subject, "detail": reason[:500]}
    record(Act.MESSAGE_FAILED, mail.message, account_id=mail.account_id, inbox_id=mail.inbox_id, changes=changes)


# Few mails of one account at a time: slow hosts that somebody names must not hold up all the others.
ATTACHMENTS = Source(
    actor="outbound worker",
    at_once=AT_ONCE,
    due=lambda: OutboundMail.objects.to_prepare(),
    claim=_next,
    ask=_fetch_all,
    settle=_settle_alone,
)
