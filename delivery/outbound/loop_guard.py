"""What keeps agents from writing to machines, and to each other, without end: docs/loop-guard.md.

An answer to mail that shows signs of a machine or of a loop (threads.automatic) is refused unless the caller forces it. What is forced,
or answers what shows no sign, still ends at a number of mails an hour in a thread and to an address: nothing lifts these.
"""

import hashlib
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import QuerySet

from delivery.models import LoopCount
from delivery.suppression import is_simulated
from inboxes.models import Inbox
from mailbot.lib.addresses import comparable
from threads.automatic import GUARDED
from threads.models import Message

WINDOW = timedelta(hours=1)
ANSWER_HEADERS = {"Auto-Submitted": "auto-replied"}  # RFC 3834 5: whoever gets it sees that no human wrote it
_FORCE = 'Do not answer what a machine wrote; where you are sure that it ends there, send it again with "force": true.'


class Refusal(NamedTuple):
    message: str
    fix: str
    until: datetime | None = None
    told: dict[str, Any] = {}


def why_not_answer(parent: Message | None, addresses: Iterable[str], *, is_forced: bool) -> Refusal | None:
    """Why a mail to these may not answer `parent`, or send it back to whom it came from."""
    if parent is None or is_forced or not GUARDED & set(parent.flags):
        return None
    senders = {comparable(address) for address in [parent.from_address, *(item["address"] for item in parent.reply_to)]}
    if not senders & set(map(comparable, addresses)):
        return None
    signs = parent.explanation.get("automatic", [])
    why = (
        " ".join(sign["reason"] for sign in signs) or f"It is flagged {', '.join(sorted(GUARDED & set(parent.flags)))}."
    )
    return Refusal(f"This would answer mail that no human wrote. {why}", _FORCE, told={"signs": signs})


def count_mail(inbox: Inbox, thread_id: str, addresses: Collection[str], now: datetime) -> Refusal | None:
    """Count a mail to these, or say why it is one too many; whoever is told so undoes his transaction.

    Call it with the inbox locked: so it is exact, however many write at once. Each counter holds the times of one hour and no more of
    them than the limit, so that it costs the same however long a conversation is. Two statements.
    """
    limits = _limits(thread_id, addresses)
    if not limits:
        return None
    known = dict(LoopCount.objects.filter(inbox_id=inbox.pk, key__in=limits).values_list("key", "times"))
    times = {key: _of_last_hour(known.get(key, ()), now) for key in limits}
    full = {key: counted for key, counted in times.items() if len(counted) >= limits[key]}
    if full:
        return _too_many(thread_id, addresses, full)
    moment = _milliseconds(now)
    LoopCount.objects.bulk_create(
        [
            LoopCount(account_id=inbox.account_id, inbox_id=inbox.pk, key=key, times=[*counted, moment], last_at=now)
            for key, counted in sorted(times.items())
        ],
        update_conflicts=True,
        unique_fields=["inbox", "key"],
        update_fields=["times", "last_at"],
    )
    return None


def forget_old(now: datetime, limit: int = 1000) -> int:
    """Remove counters whose hour is over; how many. One ahead of the clock was written before that was set back."""
    rows = LoopCount.objects.filter(last_at__lt=now - WINDOW) | LoopCount.objects.filter(last_at__gt=now + WINDOW)
    old = list(rows.values_list("pk", flat=True)[:limit])
    LoopCount.objects.filter(pk__in=old).delete()
    return len(old)


def pairs_with(account_id: str, address: str) -> QuerySet[LoopCount]:
    """The counters of mail to this address, of all inboxes of the account."""
    return LoopCount.objects.filter(account_id=account_id, key=_key(address))


def forget_pairs(account_id: str, address: str) -> int:
    """How many there were."""
    return pairs_with(account_id, address).delete()[0]


def _limits(thread_id: str, addresses: Collection[str]) -> dict[str, int]:
    of_thread = {thread_id: settings.LOOP_THREAD_LIMIT} if settings.LOOP_THREAD_LIMIT else {}
    others = [address for address in addresses if not is_simulated(address)] if settings.LOOP_PAIR_LIMIT else []
    of_pairs = {_key(address): settings.LOOP_PAIR_LIMIT for address in others}
    return {**of_thread, **of_pairs}


def _key(address: str) -> str:
    return hashlib.blake2b(comparable(address).encode(), digest_size=16).hexdigest()


def _of_last_hour(times: Iterable[int], now: datetime) -> list[int]:
    earliest, latest = _milliseconds(now - WINDOW), _milliseconds(now + WINDOW)
    return [moment for moment in times if earliest < moment <= latest]


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _too_many(thread_id: str, addresses: Collection[str], full: dict[str, list[int]]) -> Refusal:
    until = max(_free_at(counted) for counted in full.values())
    fix = "Look whether two machines answer each other. If not, send it later, or ask whoever runs this server to raise the limit."
    if counted := full.get(thread_id):
        message = f"This inbox has sent {len(counted)} mails into this thread within an hour, which is the most."
        return Refusal(message, fix, until, {"thread_id": thread_id})
    named = [address for address in addresses if _key(address) in full]
    message = f"This inbox has sent {settings.LOOP_PAIR_LIMIT} mails to {named[0]} within an hour, which is the most."
    return Refusal(message, fix, until, {"recipients": [{"address": address} for address in named]})


def _free_at(counted: list[int]) -> datetime:
    """When the first of them is an hour old. There may be more than the limit, where that was lowered: it is an early guess then."""
    return datetime.fromtimestamp(min(counted) / 1000, UTC) + WINDOW
