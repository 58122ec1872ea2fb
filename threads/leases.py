"""Who works on a thread: a lease, so that two agents do not answer the same person, and a token by which one that was away too long is
told from its successor.

A lease belongs to an API key and, where several agents share one, to the name that the agent gives itself. It ends by itself: nothing
has to be swept. Its token is a number that grows with each new owner and is never given twice (a fencing token: M. Kleppmann,
“How to do distributed locking”, 2016).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from audit.record import Act, record
from mailbot.lib.clock import database_now, is_over
from threads.events import EventType, News, record_events
from threads.models import Thread
from threads.wakeups import wake_on_commit

LONGEST = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Owner:
    """An API key by id and name, and the agent's own name where it gives one."""

    id: str
    name: str
    agent: str = ""

    def __str__(self) -> str:
        return f"{self.agent} ({self.name})" if self.agent else self.name


class Claimed(Exception):
    """Somebody else works on the thread, or the token is not the one of now. The message says who and until when."""

    def __init__(self, message: str, until: datetime | None) -> None:
        super().__init__(message)
        self.until = until


def owner_of(thread: Thread, now: datetime) -> Owner | None:
    """Whoever holds a lease that runs."""
    if thread.owner_id is None or thread.lease_until is None or not now < thread.lease_until <= now + 2 * LONGEST:
        return None
    return Owner(thread.owner_id, thread.owner_name or "", thread.owner_agent or "")


@transaction.atomic
def claim(thread: Thread, owner: Owner, lease: timedelta) -> Thread:
    """Take the thread for so long. The owner who has it already keeps his token and gets the new time. Raises Claimed.

    Of several who claim at once the conditional UPDATE lets one through.
    """
    now = database_now()
    row = Thread.objects.filter(pk=thread.pk)
    if row.filter(_is_held_by(owner) & ~_is_free(now)).update(lease_until=now + lease):
        return _told(thread, Act.THREAD_CLAIMED, None, "renewed")
    if not row.filter(_is_free(now)).update(**_given_to(owner, now, lease)):
        thread.refresh_from_db()
        raise _claimed(thread)
    return _told(thread, Act.THREAD_CLAIMED, EventType.THREAD_CLAIMED)


@transaction.atomic
def release(thread: Thread, owner: Owner, token: int | None) -> Thread:
    """Give it up: by its owner, or by whoever has its token. Of a thread that nobody holds there is nothing to give up, and a token that
    is older than the last one is refused all the same. Raises Claimed."""
    held = _locked(thread)
    if _check(held, owner, token, database_now()):
        Thread.objects.filter(pk=held.pk).update(lease_until=None)
        return _told(held, Act.THREAD_RELEASED, EventType.THREAD_RELEASED)
    return held


@transaction.atomic
def take_away(thread: Thread, reason: str) -> bool:
    """An operator ends the lease; False when there is none that runs."""
    if not Thread.objects.filter(pk=thread.pk).exclude(_is_free(database_now())).update(lease_until=None):
        return False
    _told(thread, Act.THREAD_RELEASED, EventType.THREAD_RELEASED, reason)
    return True


@transaction.atomic
def hand_off(thread: Thread, owner: Owner, token: int | None, to: Owner, lease: timedelta, note: str = "") -> Thread:
    """Give it to another owner, who gets a new token; nobody can come in between. One that nobody holds can be given by anybody. Raises
    Claimed."""
    held, now = _locked(thread), database_now()
    was_held = _check(held, owner, token, now)
    Thread.objects.filter(pk=held.pk).update(**_given_to(to, now, lease))
    by = {"handed_off_from": str(owner)} if was_held else {}
    return _told(held, Act.THREAD_HANDED_OFF, EventType.THREAD_CLAIMED, note, **by)


def check_may_answer(thread_id: str, owner: Owner, token: int | None) -> None:
    """Whether `owner` may write into the thread: nobody else holds it, and the token he brings, if any, is not an old one.

    Call it in the transaction that writes: the thread stays locked, so no claim comes in between. Raises Claimed.
    """
    thread = Thread.objects.select_for_update(no_key=True).filter(pk=thread_id).first()
    if thread is not None:
        _check(thread, owner, token, database_now())


def _locked(thread: Thread) -> Thread:
    return Thread.objects.select_for_update(no_key=True).get(pk=thread.pk)


def _check(thread: Thread, owner: Owner, token: int | None, now: datetime) -> bool:
    """Whether the lease runs and is the caller's. Raises Claimed when it is another's, or the token is an old one."""
    holder = owner_of(thread, now)
    if token is not None and token != thread.lease_token:
        raise _claimed(thread) if holder else Claimed("This token is not the one of the last claim.", None)
    if holder is None:
        return False
    if token is None and (holder.id, holder.agent) != (owner.id, owner.agent):
        raise _claimed(thread)
    return True


def _is_free(now: datetime) -> Q:
    return Q(lease_until=None) | is_over("lease_until", now, 2 * LONGEST)


def _is_held_by(owner: Owner) -> Q:
    return Q(owner_id=owner.id, owner_agent=owner.agent)


def _given_to(owner: Owner, now: datetime, lease: timedelta) -> dict[str, object]:
    return {
        "owner_id": owner.id,
        "owner_name": owner.name,
        "owner_agent": owner.agent,
        "claimed_at": now,
        "lease_until": now + lease,
        "lease_token": Coalesce(F("lease_token"), 0) + 1,
    }


def _claimed(thread: Thread) -> Claimed:
    holder = Owner(thread.owner_id or "", thread.owner_name or "", thread.owner_agent or "")
    return Claimed(f"{holder} works on this thread.", thread.lease_until)


def _told(thread: Thread, act: Act, event: EventType | None, note: str = "", **more: str) -> Thread:
    """The thread as it is now, after its entry in the trail and, where agents have to know of it, its event."""
    thread.refresh_from_db()
    owner = Owner(thread.owner_id or "", thread.owner_name or "", thread.owner_agent or "")
    about = {"owner": str(owner), "token": thread.lease_token, "note": note, **more}
    about = {name: value for name, value in about.items() if value}
    record(act, thread, account_id=thread.account_id, inbox_id=thread.inbox_id, changes=about)
    if event is not None:
        record_events([News(event, thread.account_id, thread.inbox_id, thread.pk, data=about)])
        wake_on_commit({thread.inbox_id})
    return thread
