"""The safeguard for clients that send no Idempotency-Key: a send that is tried again because its answer was lost is one send.

A client that saw no answer cannot know whether the mail was taken. So an identical send (same API key, path and body) within a minute of
one whose answer has not arrived is taken for the same one, and answered with its message. Identical sends whose answers have arrived are
meant: each of them is sent. docs/api/idempotency.md says what is known of an answer, and where nothing can be.
"""

import threading
import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from delivery.models import RecentSend
from delivery.outbound.queue import Check, Draft, queue_mail
from inboxes.models import Inbox
from mailbot.lib.hints import Doorbell
from mailbot.lib.receipts import Outcome, Receipt
from mailbot.lib.scope import acting_for_everybody
from mailbot.lib.transactions import quick_commit
from threads.models import Message

KEPT_FOR = timedelta(seconds=60)
# From when a send is committed until nothing that is still unknown of its answer will be heard in time: longer than an answer needs to
# be written, http_protocol.OPEN_FOR and WRITTEN_EVERY together.
KNOWN_WITHIN = timedelta(seconds=3)
WRITTEN_EVERY = 0.1  # seconds
LOOKS_EVERY = 0.05  # seconds
BATCH = 500


class SameSend(Exception):
    """This send was taken before, as `message_id`, and its answer has not arrived."""

    def __init__(self, message_id: str) -> None:
        super().__init__(message_id)
        self.message_id = message_id


class NotKnownYet(Exception):
    """Of the answers to these messages it is not known yet whether they arrive."""

    def __init__(self, message_ids: Collection[str]) -> None:
        super().__init__(message_ids)
        self.message_ids = message_ids


class OnceByContent:
    """A try to send, told apart by what it asks for (`asked`). Its own `receipt` says whether somebody still waits for the answer."""

    def __init__(self, account_id: str, asked: UUID, receipt: Receipt) -> None:
        self.account_id, self.asked, self.receipt = account_id, asked, receipt
        self._waited = False

    def begin(self) -> None:
        """Under the inbox's lock, under which identical sends come one after the other. Raises SameSend or NotKnownYet.

        Whoever has hung up gives way to any identical send: the one that came instead of it. Sends that were committed while this one
        waited are no earlier tries of its client, unless they are known to be lost.
        """
        recent = _recent(self.asked)
        unanswered = [send for send in recent if send.answer != Outcome.DELIVERED]
        same = recent if self._is_given_up() else [send for send in unanswered if _is_lost(send)]
        if same:
            raise SameSend(same[0].message_id)
        if unanswered and not self._waited:
            raise NotKnownYet({send.message_id for send in unanswered})

    def wait(self, unknown: NotKnownYet) -> None:
        """Until it is known. Blocks for KNOWN_WITHIN at most; hold no lock."""
        _wait_until_known(unknown.message_ids)
        self._waited = True

    def keep(self, message: Message) -> None:
        """In the transaction of the message, at its end."""
        RecentSend.objects.create(
            message=message,
            account_id=self.account_id,
            asked=self.asked,
            answer=self.receipt.outcome.value if self._is_given_up() else Outcome.PENDING.value,
            created_at=Now(),
            answered_at=Now(),
        )

    def _is_given_up(self) -> bool:
        return self.receipt.outcome is Outcome.LOST


def queue_once(
    inbox: Inbox, draft: Draft, parent: Message | None, once: OnceByContent, check: Check | None = None
) -> Message:
    """queue_mail, once. Raises SameSend, and what queue_mail raises."""
    try:
        return queue_mail(inbox, draft, parent, once, check)
    except NotKnownYet as unknown:
        once.wait(unknown)
        return queue_mail(inbox, draft, parent, once, check)


def answer_again(message_id: str) -> None:
    """The send is answered once more: whether that arrives is what matters now. Call it in no transaction."""
    _notes.drop(message_id)
    RecentSend.objects.filter(pk=message_id).update(answer=Outcome.PENDING.value, answered_at=Now())


def watch(receipt: Receipt, message_id: str, *, is_written: bool) -> None:
    """Remember of the send of `message_id` what becomes of its answer, to which `receipt` belongs.

    Until the answer `is_written` only its loss means something: what arrives may be a 500.
    """
    if receipt.outcome is Outcome.DELIVERED:  # from the beginning: the caller is in this process
        if is_written:
            RecentSend.objects.filter(pk=message_id).update(answer=Outcome.DELIVERED.value)
        return
    receipt.watch(lambda outcome: _note(message_id, outcome, is_written))


def _note(message_id: str, outcome: Outcome, is_written: bool) -> None:
    if is_written or outcome is Outcome.LOST:
        _notes.add(message_id, outcome)


def forget_old(limit: int = BATCH) -> int:
    """Remove sends whose minute is over; how many. A time to come was written before the clock was set back."""
    old = RecentSend.objects.filter(Q(created_at__lt=Now() - KEPT_FOR) | Q(created_at__gt=Now() + KEPT_FOR))
    found = list(old.values_list("pk", flat=True)[:limit])
    RecentSend.objects.filter(pk__in=found).delete()
    return len(found)


def _recent(asked: UUID) -> Sequence[RecentSend]:
    """Identical sends of the last minute, the newest first; with `is_young`: more may be heard of its answer.

    What this process knows is newer than what is written. It is looked at first: it is dropped once it is written.
    """
    known = _notes.known()
    young = ExpressionWrapper(Q(answered_at__gt=Now() - KNOWN_WITHIN), output_field=BooleanField())
    found = RecentSend.objects.filter(asked=asked, created_at__gt=Now() - KEPT_FOR, created_at__lt=Now() + KNOWN_WITHIN)
    sends = list(found.annotate(is_young=young).order_by("-created_at"))
    for send in sends:
        send.answer = known.get(send.message_id, send.answer)
    return sends


def _is_lost(send: RecentSend) -> bool:
    return send.answer == Outcome.LOST or (send.answer == Outcome.PENDING and not send.is_young)  # type: ignore[attr-defined]


def _wait_until_known(message_ids: Collection[str]) -> None:
    ends = time.monotonic() + KNOWN_WITHIN.total_seconds()
    unknown = set(message_ids)
    while unknown and time.monotonic() < ends:
        _notes.wait(LOOKS_EVERY)
        known = _notes.known()
        pending = RecentSend.objects.filter(pk__in=unknown, answer=Outcome.PENDING.value)
        unknown = set(pending.values_list("pk", flat=True)) - known.keys()


class _Notes:
    """What became of answers, until it is written: many at once, by a thread of its own, so that no answer and no request waits for it."""

    def __init__(self) -> None:
        self._outcomes: dict[str, Outcome] = {}
        self._writing = threading.Lock()
        self._news = threading.Condition()
        self._doorbell = Doorbell(lambda _: self._write(), name="receipts", pause=WRITTEN_EVERY)

    def add(self, message_id: str, outcome: Outcome) -> None:
        with self._news:
            self._outcomes[message_id] = outcome
            self._news.notify_all()
        self._doorbell.ring("write")

    def drop(self, message_id: str) -> None:
        """What is just being written of it is written before: behind what follows it would be news."""
        with self._writing, self._news:
            self._outcomes.pop(message_id, None)

    def known(self) -> dict[str, Outcome]:
        with self._news:
            return dict(self._outcomes)

    def wait(self, seconds: float) -> None:
        with self._news:
            self._news.wait(seconds)

    def _write(self) -> None:
        with self._writing:
            with self._news:
                written = dict(self._outcomes)
            try:
                self._write_all(written)
            finally:
                connection.close()  # back into the pool; it is this thread's own
        with self._news:
            for message_id, outcome in written.items():
                if self._outcomes.get(message_id) is outcome:
                    del self._outcomes[message_id]

    def _write_all(self, outcomes: dict[str, Outcome]) -> None:
        """It needs no flush: what a crash of PostgreSQL takes back is as if the answer had not arrived."""
        with acting_for_everybody("receipts"), quick_commit():
            for outcome in (Outcome.DELIVERED, Outcome.LOST):
                found = sorted(message_id for message_id, known in outcomes.items() if known is outcome)
                for start in range(0, len(found), BATCH):
                    RecentSend.objects.filter(pk__in=found[start : start + BATCH]).update(answer=outcome.value)


_notes = _Notes()
