"""Whether mail is handed out at all. An operator pauses and resumes that, and a database that is older than it was pauses itself.

What an older database has queued may have been sent since. So an epoch rises in the database and, after it, in a record outside
(`mailbot.lib.outside_record`). Outside it is never ahead, unless the database was set back: then nothing is handed out until an operator
says so. A database without its record is a copy in another place, and waits as well.
"""

import logging
from datetime import datetime, timedelta
from time import monotonic

from django.db import IntegrityError, transaction

from audit.actors import current
from audit.record import Act, record
from delivery.models import OutboxState
from delivery.outbound.queue import SEND_TASK
from mailbot.lib.clock import database_now, is_over
from mailbot.lib.hints import ring_on_commit
from mailbot.lib.ids import new_id
from mailbot.lib.outside_record import RecordUnavailable, outside_record

log = logging.getLogger(__name__)

STEP = timedelta(minutes=1)
RESTORED = (
    "The database is older than it was when mail was last handed out: it seems to be a restored back-up. What is queued in it"
    " may have been sent already."
)
COPIED = (
    "There is no record of this database here: it seems to be a restored back-up or a copy. What is queued in it may have been"
    " sent already, or be sent elsewhere."
)


class _Memory:
    """What this process saw last: a database that is restored while it runs falls behind that, too."""

    seen = ("", 0)  # lineage and epoch; one value, so that threads see both or neither change
    look_at = 0.0  # when the record outside is looked at again, by the monotonic clock


def may_hand_out() -> bool:
    """Whether mail may leave now. Asked before every claim: one query, and once a minute the record outside."""
    lineage, epoch = _Memory.seen  # before the row: another thread may let both rise between
    state = OutboxState.objects.first() or _begin()
    if state is None or state.is_paused:
        return False
    if state.lineage == lineage and state.epoch < epoch:
        return _pause_itself(RESTORED)
    if state.lineage != lineage or monotonic() >= _Memory.look_at:
        return _look_outside(state.lineage)
    _Memory.seen = (state.lineage, state.epoch)
    return True


def current_state() -> OutboxState | None:
    """None: no mail was ever handed out, or paused."""
    return OutboxState.objects.first()


def pause(reason: str) -> bool:
    """Hand out nothing from now on; what is on its way is not called back. False: it is paused already."""
    if OutboxState.objects.first() is None:
        _begin(must=True)
    return _set_paused(True, reason)


def resume(reason: str = "") -> bool:
    """Go on, with this database as the one that counts. False: it is not paused. Raises RecordUnavailable."""
    state = OutboxState.objects.first()
    if state is None or not state.is_paused:
        return False
    outside = outside_record()
    epoch = _next(max(state.epoch, outside.read(state.lineage) or 0), database_now())
    outside.write(state.lineage, epoch)  # first: if this process dies now, the outbox is paused as before
    return _set_paused(False, reason, epoch=epoch, advanced_at=database_now())


def _begin(*, must: bool = False) -> OutboxState | None:
    """The row of a database that has none yet. None: there is no record outside, so nobody could see it restored.

    `must`: for a pause, which is safe without a record.
    """
    now = database_now()
    state = OutboxState(lineage=new_id("outbox"), epoch=_next(0, now), advanced_at=now)
    try:
        outside_record().write(state.lineage, state.epoch)
    except RecordUnavailable as error:
        _complain(error)
        if not must:
            return None
    try:
        with transaction.atomic():
            state.save(force_insert=True)
    except IntegrityError:  # another process was quicker
        return OutboxState.objects.first()
    return state


def _look_outside(lineage: str) -> bool:
    """Compare, and let both rise. Outside is read first: whatever else writes meanwhile, the database is then not behind it."""
    try:
        outside = outside_record().read(lineage)
    except RecordUnavailable as error:
        return _go_on_unseen(lineage, error)
    state = OutboxState.objects.filter(lineage=lineage, is_paused=False).first()
    if state is None:
        return False
    if outside is None or outside > state.epoch:
        return _pause_itself(COPIED if outside is None else RESTORED)
    _advance(state)
    _Memory.seen = (lineage, state.epoch)
    _Memory.look_at = monotonic() + STEP.total_seconds()
    return True


def _go_on_unseen(lineage: str, error: RecordUnavailable) -> bool:
    """A process that has seen the record goes by what it remembers. One that has not cannot know, and hands out nothing."""
    _complain(error)
    return lineage == _Memory.seen[0]


def _complain(error: RecordUnavailable) -> None:
    log.warning("The record outside of the database cannot be used (docs/backup.md): %s", error)


def _advance(state: OutboxState) -> None:
    """By whoever is first, once in STEP."""
    now = database_now()
    epoch = _next(state.epoch, now)
    rows = OutboxState.objects.filter(is_over("advanced_at", now - STEP, STEP), epoch=state.epoch, is_paused=False)
    if not rows.update(epoch=epoch, advanced_at=now):
        return
    state.epoch = epoch
    try:
        outside_record().write(state.lineage, epoch)
    except RecordUnavailable as error:
        _complain(error)


def _next(epoch: int, now: datetime) -> int:
    """Seconds since 1970, so that it can be read; but it rises whatever the clock does."""
    return max(epoch + 1, int(now.timestamp()))


def _pause_itself(reason: str) -> bool:
    if _set_paused(True, reason):
        log.error("Sending is paused. %s See docs/backup.md; `manage.py outbox resume` goes on.", reason)
    return False


@transaction.atomic
def _set_paused(is_paused: bool, reason: str, **columns: object) -> bool:
    actor = current().actor
    columns |= {"is_paused": is_paused, "reason": reason, "changed_at": database_now()}
    rows = OutboxState.objects.filter(is_paused=not is_paused)
    if not rows.update(**columns, changed_by=(actor.name or actor.kind.value)[:200]):
        return False
    record(Act.OUTBOX_PAUSED if is_paused else Act.OUTBOX_RESUMED, None, account_id="", changes={"reason": reason})
    if not is_paused:
        ring_on_commit(SEND_TASK)
    return True
