"""Mail of which nobody knows whether the provider took it: who can say so, in this order, and otherwise what its account wants.

1. News of the provider (delivery.hooks.news) that only a mail can have which was taken.
2. The idempotency key, where the ESP has one and still knows it: the same mail once more is the same mail.
3. A look into the provider's records, where it has an API for that. That it does not find the mail proves nothing.
4. The account's `on_unknown`: an operator decides, or it is sent again with the same Message-ID.
"""

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from audit.record import Act, record
from delivery.claims import claim, release
from delivery.esps import ESPS
from delivery.esps.base import Esp
from delivery.inbound.receive import storable
from delivery.models import OutboundMail, SendAttempt
from delivery.outbound.outcomes import EVENT_AFTER, Report, Result
from delivery.outbound.queue import SEND_TASK
from delivery.outbound.send import RETRY_AFTER
from delivery.outbound.states import State, can_move
from delivery.outbound.tracking import apply_reports, requeue
from delivery.slow_work import Source
from inboxes.models import OnUnknown, Provider
from mailbot.lib.clock import database_now
from mailbot.lib.hints import ring_on_commit
from mailbot.lib.safe_fetch import FetchFailed
from threads.models import Message

log = logging.getLogger(__name__)

AT_ONCE = 4
AT_ONCE_OF_A_PROVIDER = 1
AT_ONCE_OF_AN_ACCOUNT = 2
LEASE = timedelta(minutes=3)
# When a mail is looked at, counted from when it became unknown; afterwards once a week.
LOOKS_AFTER = tuple(timedelta(seconds=s) for s in (30, 120, 900, 3600, 21600, 86400))
WEEK = timedelta(days=7)
# An account that wants its mail at least once still prefers to be told: news mostly come within minutes.
AGAIN_AFTER = timedelta(minutes=15)
KEY_MARGIN = timedelta(minutes=5)  # a key is not used right before the ESP forgets it


@dataclass(frozen=True, slots=True)
class Finding:
    """`state` UNKNOWN: nothing was found out; looked at again later. `again_before`: until when QUEUED is safe."""

    state: State
    reason: str = ""
    provider_message_id: str = ""
    again_before: datetime | None = None


STILL_UNKNOWN = Finding(State.UNKNOWN)


def _next(flying: Collection[OutboundMail]) -> OutboundMail | None:
    asked = Counter(mail.carrier_id for mail in flying)
    full = [carrier for carrier, count in asked.items() if carrier and count >= AT_ONCE_OF_A_PROVIDER]
    accounts = Counter(mail.account_id for mail in flying)
    served = [account for account, count in accounts.items() if count >= AT_ONCE_OF_AN_ACCOUNT]
    due = OutboundMail.objects.to_look_into().exclude(carrier_id__in=full).exclude(account_id__in=served)
    pk = due.order_by("next_attempt_at", "pk").values_list("pk", flat=True).first()
    if pk is None or claim(OutboundMail.objects.to_look_into(), pk, state=State.UNKNOWN, lease=LEASE) is None:
        return None
    # With all that the thread needs, which touches no database.
    mails = OutboundMail.objects.select_related("message", "carrier", "account").prefetch_related("send_attempts")
    return mails.get(pk=pk)


def _settle_alone(mail: OutboundMail, found: Finding) -> None:
    """One that cannot be settled would come first again, and nothing behind it would ever be looked at."""
    try:
        _settle(mail, found)
    except Exception:
        log.exception("Settling %s", mail.pk)
        _settle(mail, STILL_UNKNOWN)


def _find_out(mail: OutboundMail) -> Finding:
    carrier = mail.carrier
    esp = ESPS.get(carrier.esp) if carrier else None
    tries = [attempt for attempt in mail.send_attempts.all() if attempt.outcome == Result.UNKNOWN]
    if not tries:
        return STILL_UNKNOWN
    first, age = tries[0].started_at, timezone.now() - tries[-1].finished_at
    has_tries_left = mail.attempts <= len(RETRY_AFTER)
    known_until = first + esp.key_lifetime - KEY_MARGIN if esp and esp.retries_safely else first
    if esp and has_tries_left and timezone.now() < known_until:
        reason = f"{esp.label} knows it by its idempotency key, so it is sent again safely."
        return Finding(State.QUEUED, reason, again_before=known_until)
    if esp and carrier and (found := _looked_up(esp, carrier, mail)):
        return Finding(State.SENT, f"{carrier.name} has it in its records.", found)
    at_least_once = mail.account.on_unknown == OnUnknown.AT_LEAST_ONCE
    if at_least_once and has_tries_left and age >= AGAIN_AFTER:
        return Finding(State.QUEUED, "The account wants mail at least once: sent again with the same Message-ID.")
    return STILL_UNKNOWN


def _looked_up(esp: type[Esp], carrier: Provider, mail: OutboundMail) -> str | None:
    try:
        return esp.look_up(carrier.credentials, mail.pk, mail.message.message_id_header)
    except FetchFailed:  # not now, or not so; a person can still decide
        return None
    except Exception:  # whatever the ESP made of its answer, or who can choose its address
        log.exception("Looking for %s in the records of %s", mail.pk, carrier.pk)
        return None


def _settle(mail: OutboundMail, found: Finding) -> None:
    if found.state is State.UNKNOWN:
        release(mail, next_attempt_at=database_now() + _pause(mail))
    else:
        settle_unknown(mail, found.state, found.reason, storable(found.provider_message_id), found.again_before)


def _pause(mail: OutboundMail) -> timedelta:
    age = timezone.now() - max((attempt.finished_at for attempt in mail.send_attempts.all()), default=mail.created_at)
    return next((after - age for after in LOOKS_AFTER if after > age), WEEK)


@transaction.atomic
def settle_unknown(
    mail: OutboundMail,
    state: State,
    reason: str,
    provider_message_id: str = "",
    again_before: datetime | None = None,
) -> bool:
    """Decide on an unknown mail: SENT (it arrived), FAILED (it did not) or QUEUED (send it again). False when somebody did before.

    `again_before`: by the carrier that may have it and until then, since that knows it by its key; None: whenever and by whomever.
    """
    if not can_move(State.UNKNOWN, state):
        raise ValueError(f"An unknown mail cannot become {state}.")
    columns: dict[str, object] = {"lease_token": "", "lease_until": None, "error": reason[:2000]}
    columns["again_before"] = again_before
    columns |= {"next_attempt_at": database_now()} if state is State.QUEUED else {"finished_at": timezone.now()}
    if provider_message_id:
        columns["provider_message_id"] = provider_message_id
    unknown = OutboundMail.objects.filter(pk=mail.pk, state=State.UNKNOWN)
    if again_before is not None:
        unknown = unknown.filter(carrier=mail.carrier_id)
    if not unknown.update(state=state, **columns):
        return False
    _note(mail, State.UNKNOWN, state, reason)
    if state is State.QUEUED:
        requeue(mail)
        ring_on_commit(SEND_TASK)
    else:
        apply_reports(mail, [Report(EVENT_AFTER[state], address, reason) for address in _addresses(mail)])
    return True


def settle_by_news(mail: OutboundMail, provider_message_id: str, reason: str) -> None:
    """The provider took it: an unknown mail is sent, and one that waits for another try after an unknown one is not tried again."""
    tried = SendAttempt.objects.filter(mail=OuterRef("pk"), outcome=Result.UNKNOWN)
    open_question = Q(state=State.UNKNOWN) | Q(Exists(tried), state=State.QUEUED)
    was = OutboundMail.objects.filter(open_question, pk=mail.pk).values_list("state", flat=True).first()
    if was is None:
        return
    columns: dict[str, object] = {"lease_token": "", "lease_until": None, "error": "", "finished_at": timezone.now()}
    if provider_message_id:
        columns["provider_message_id"] = provider_message_id
    if OutboundMail.objects.filter(pk=mail.pk, state=was).update(state=State.SENT, **columns):
        _note(mail, State(was), State.SENT, reason)
        apply_reports(mail, [Report(EVENT_AFTER[State.SENT], address, reason) for address in _addresses(mail)])


def settle_by_refusal(mail: OutboundMail, reason: str) -> None:
    """The provider had it and refuses it: an unknown mail of which no recipient is left has failed. To be called once they are moved."""
    if mail.recipients.exclude(status__in=[Message.Status.FAILED, Message.Status.BLOCKED]).exists():
        return
    columns = {"lease_token": "", "lease_until": None, "error": reason[:2000], "finished_at": timezone.now()}
    if OutboundMail.objects.filter(pk=mail.pk, state=State.UNKNOWN).update(state=State.FAILED, **columns):
        _note(mail, State.UNKNOWN, State.FAILED, reason)


def _note(mail: OutboundMail, old: State, new: State, reason: str) -> None:
    changes = {"state": [old.value, new.value], "reason": reason}
    record(Act.MESSAGE_SETTLED, mail.message, account_id=mail.account_id, inbox_id=mail.inbox_id, changes=changes)


def _addresses(mail: OutboundMail) -> list[str]:
    return [recipient.address for recipient in mail.remaining()]


# What can be settled without a person.
OPEN_QUESTIONS = Source(
    actor="outbound worker",
    at_once=AT_ONCE,
    due=lambda: OutboundMail.objects.to_look_into(),
    claim=_next,
    ask=_find_out,
    settle=_settle_alone,
)
