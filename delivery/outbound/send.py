"""Handing queued mail to its provider: at most once, whatever dies and whoever calls."""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic, sleep
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone
from structlog.contextvars import bound_contextvars

from audit.actors import acting_for_request
from audit.record import record
from delivery.inbound.receive import storable
from delivery.models import OutboundMail, SendAttempt
from delivery.outbound.breaker import Standings, standings_of, why_domain_stopped
from delivery.outbound.choosing import provider_for
from delivery.outbound.claiming import Ring, claim_next, claim_one
from delivery.outbound.outcomes import ACT_AFTER, EVENT_AFTER, STATE_AFTER, Outcome, Report, Result
from delivery.outbound.queue import Blocked, why_not_send, why_not_to
from delivery.outbound.sending import Handed, Sending, carrier_for, esp_of, hand_over
from delivery.outbound.sent import final_message_id, is_plain, write_together
from delivery.outbound.states import State
from delivery.outbound.suppressed import leave_out, suppressed_detail, suppressed_in
from delivery.outbound.tracking import apply_reports
from delivery.outbound.warm_up import hold_back
from inboxes.models import Provider
from mailbot.lib import metrics
from mailbot.lib.clock import database_now
from threads.conversation import note_final_message_ids
from threads.models import Message

log = logging.getLogger(__name__)
lines = structlog.get_logger(__name__)

_ring = Ring()  # of this process: who comes next is no different after a pause
PAUSES = (0.2, 1.0, 3.0, 10.0)  # seconds between tries to write an outcome
Written = TypeVar("Written")
CLAIMS_FOR = 20.0  # seconds: then the worker looks at what else there is to do
# When a mail that was refused for now is tried again; spread over a day, then it has failed.
RETRY_AFTER = tuple(timedelta(seconds=s) for s in (30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800))
JITTER = 0.2
FORGOTTEN = "It waited until the provider, which may have taken it, does not know it by its key any more."
FIRST_LOOK = timedelta(seconds=30)  # until somebody looks what became of an unknown one (delivery.outbound.unknown)


def send_due_mail() -> int:
    """Send what is due; how many were tried. Many are on their way at once, and none waits for another one's provider.

    This thread alone has to do with the database: the others hand over, and bring the outcome.
    """
    sending = Sending(settings.SEND_THREADS)
    try:
        return _send_due(sending)
    finally:  # whatever ended it: what is on the wire has an outcome all the same
        while sending.is_busy:
            _settle_finished(sending)


def _send_due(sending: Sending) -> int:
    tried, ends = 0, monotonic() + CLAIMS_FOR
    while True:
        taken = claim_next(_ring, sending.room) if sending.room >= sending.worth_a_claim and monotonic() < ends else []
        tried += len(taken)
        may_go, blocked = _parted(taken)
        for mail in may_go:
            sending.start(mail)
        _settle_all(blocked)  # behind: nobody waits while it is written why another one's mail does not go
        if not taken and not sending.is_busy:
            return tried
        _settle_finished(sending)


def send_outbound_mail(mail_id: str) -> None:
    """Hand one queued mail to its provider, at most once.

    Safe to call at any time, from any process, more than once: the claim decides. Raises nothing of the provider's; the outcome
    is on the row.
    """
    mail = claim_one(mail_id)
    if mail is None:  # another worker has it, or it is not due
        return
    may_go, blocked = _parted([mail])
    _settle_all(blocked)
    for mail in may_go:
        _settle_handed(hand_over(mail, carrier_for(mail)))  # no transaction is open during I/O


def _settle_finished(sending: Sending) -> None:
    _settle_all([each._replace(outcome=_storable(each.outcome)) for each in sending.finished()])


def _settle_all(handed: list[Handed]) -> None:
    """Those that were simply taken, or blocked, at once, the others each by itself: one that cannot be written must not cost the others
    their outcomes. Its lease runs out, and it is unknown."""
    written = _written_together([each for each in handed if is_plain(each)])
    for each in handed:
        if each.mail.pk not in written:
            try:
                _settle_handed(each)
            except Exception:
                log.exception("The outcome %s of %s is not written", each.outcome.result, each.mail.pk)


def _written_together(plain: list[Handed]) -> set[str]:
    """The ids of those that are written. Whoever is not among them is looked at alone."""
    if len(plain) < 2:
        return set()
    try:
        written = _patiently(write_together, plain)
    except Exception:
        log.exception("%d outcomes are written one by one", len(plain))
        return set()
    for each in plain:
        if each.mail.pk in written:
            with bound_contextvars(mail_id=each.mail.pk, inbox_id=each.mail.inbox_id, request_id=each.mail.request_id):
                _say(each, STATE_AFTER[each.outcome.result])
    return written


def _patiently(write: Callable[..., Written], *arguments: Any) -> Written:
    """A database that is away comes back, mostly within the lease, and what was sent must not become unknown for it."""
    for pause in PAUSES:
        try:
            return write(*arguments)
        except (OperationalError, InterfaceError) as error:
            log.warning("The outcome cannot be written now: %s", error)
            connection.close_if_unusable_or_obsolete()
            sleep(pause)
    return write(*arguments)


def _settle_handed(handed: Handed) -> None:
    """Write the outcome, and tell of it: the trail and the log name the request that the mail came by."""
    mail = handed.mail
    with acting_for_request(mail.request_id), bound_contextvars(mail_id=mail.pk, inbox_id=mail.inbox_id):
        _say(handed, _patiently(_settle, mail, handed.outcome, handed.carrier, handed.started_at))


def _say(handed: Handed, state: State | None) -> None:
    mail, outcome, carrier, _, seconds = handed
    if state is None:
        log.warning("Our lease is over, the outcome %s is not written.", outcome.result)
        return
    metrics.note_settled(esp_of(mail), outcome.result.value, state.value)
    took = {} if seconds is None else {"duration_ms": round(seconds * 1000, 1)}
    told = {"provider": carrier, "outcome": outcome.result.value, "state": state.value, **took}
    # What the provider said stands in the row and in the trail: it may quote the mail.
    lines.info("send", account_id=mail.account_id, esp=esp_of(mail), attempt=mail.attempts + 1, **told)


def _parted(taken: list[OutboundMail]) -> tuple[list[OutboundMail], list[Handed]]:
    """Those that may go, to whom they may; and the others, of which it is still to be written why not."""
    standings = standings_of(taken)
    allowed, may_go, blocked = [], [], []
    for mail in taken:
        if why := _why_blocked(mail, standings):
            blocked.append(_blocked(mail, why))
        else:
            allowed.append(mail)
    suppressed = suppressed_in(allowed)
    for mail in allowed:
        # Who bounced or complained since it was queued is left out; a mail for nobody else is blocked.
        theirs = suppressed.get(mail.pk)
        if theirs and len(theirs) == len(mail.remaining()):
            blocked.append(_blocked(mail, Outcome(Result.BLOCKED, suppressed_detail(theirs))))
        elif not theirs or leave_out(mail, theirs):
            may_go.append(mail)
    return hold_back(may_go, standings), blocked


def _blocked(mail: OutboundMail, why: Outcome) -> Handed:
    return Handed(mail, _storable(why), "mailbot", timezone.now(), None)


def _why_blocked(mail: OutboundMail, standings: Standings) -> Outcome | None:
    try:
        why_not_send(mail.inbox, mail.created_at)
        if stop := why_domain_stopped(standings.get((mail.account_id, mail.inbox.domain)), mail.created_at):
            raise Blocked(*stop)
        if mail.inbox.has_rules:  # type: ignore[attr-defined]  # as claiming reads it
            why_not_to(mail.inbox, [recipient.address for recipient in mail.remaining()], _parent_of(mail))
    except Blocked as blocked:
        return Outcome(Result.BLOCKED, blocked.detail)
    if mail.again_before is not None and timezone.now() >= mail.again_before:
        return Outcome(Result.BLOCKED, FORGOTTEN)  # who may have it would take it for another mail
    return None


def _parent_of(mail: OutboundMail) -> Message | None:
    """The message that it answers or forwards, while that is kept."""
    parent_id = mail.message.explanation.get("thread", {}).get("matched_message")
    parents = Message.objects.filter(pk=parent_id, inbox_id=mail.inbox_id).only("from_address", "reply_to", "to", "cc")
    return parents.first() if parent_id else None


def settle(mail: OutboundMail, outcome: Outcome, carrier: str, started_at: datetime) -> None:
    _settle_handed(Handed(mail, _storable(outcome), carrier, started_at, None))


def _storable(outcome: Outcome) -> Outcome:
    """What a provider says may hold what no database takes, and what became of the mail must be written all the same."""
    reports = tuple(
        replace(report, recipient=storable(report.recipient), reason=storable(report.reason))
        for report in outcome.reports
    )
    detail, provider_message_id = storable(outcome.detail), storable(outcome.provider_message_id)
    return replace(outcome, reports=reports, detail=detail, provider_message_id=provider_message_id)


def _settle(mail: OutboundMail, outcome: Outcome, carrier: str, started_at: datetime) -> State | None:
    """Fenced: only while our lease is the current one, otherwise None. Then what the provider already said of recipients."""
    number = mail.attempts + 1
    state = STATE_AFTER[outcome.result]
    if state is State.QUEUED and number > len(RETRY_AFTER):
        state = State.FAILED
    if state in (State.FAILED, State.BLOCKED) and _may_have_it(mail):
        state = State.UNKNOWN  # this try was refused; what became of the one before is as open as it was
    with transaction.atomic():
        columns = {
            "state": state,
            "attempts": number,
            "provider": carrier,
            "error": outcome.detail[:2000],
            **_after(mail, state, number, outcome),
        }
        if outcome.provider_message_id:
            columns |= _ids(mail, outcome.provider_message_id)
        ours = OutboundMail.objects.filter(pk=mail.pk, state=State.SENDING, lease_token=mail.lease_token)
        if not ours.update(lease_token="", lease_until=None, **columns):
            return None
        _note_attempt(mail, number, outcome, carrier, started_at)
        if final := columns.get("final_message_id"):
            note_final_message_ids({mail.message_id: str(final)})
        _tell(mail, state, outcome)
        if outcome.for_all and outcome.wait and mail.carrier_id:
            Provider.objects.filter(pk=mail.carrier_id).update(waits_until=database_now() + outcome.wait)
    return state


def _ids(mail: OutboundMail, provider_message_id: str) -> dict[str, object]:
    """The provider's id, and the Message-ID that recipients see where that can be told from it."""
    final = final_message_id(mail, provider_message_id)
    return {"provider_message_id": provider_message_id, **({"final_message_id": final} if final else {})}


def _after(mail: OutboundMail, state: State, number: int, outcome: Outcome) -> dict[str, object]:
    if state is State.UNKNOWN:
        return {"next_attempt_at": database_now() + FIRST_LOOK * random.uniform(1, 1.4)}  # noqa: S311
    if state is not State.QUEUED:
        return {"finished_at": timezone.now()}
    pause = RETRY_AFTER[number - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    # The provider knows better when it takes mail again.
    due: dict[str, object] = {"next_attempt_at": database_now() + max(pause, outcome.wait or pause)}
    if _may_have_it(mail):
        return due  # nobody else gets it: who may have it knows it by its key, if anybody does
    chosen, carrier = provider_for(mail.inbox), mail.carrier
    stand_in = chosen.fallback if chosen else None
    if carrier is not None and carrier == chosen and stand_in is not None:
        return {"next_attempt_at": database_now(), "carrier": stand_in}  # for one that surely did not take it
    return due | ({"carrier": None} if carrier in (chosen, stand_in) else {})  # another one may be chosen by then


def _may_have_it(mail: OutboundMail) -> bool:
    """Whether a provider may have taken it at an earlier try."""
    return mail.attempts > 0 and mail.send_attempts.filter(outcome=Result.UNKNOWN.value).exists()


def _note_attempt(mail: OutboundMail, number: int, outcome: Outcome, provider: str, started_at: datetime) -> None:
    SendAttempt.objects.create(
        account_id=mail.account_id,
        mail=mail,
        number=number,
        provider=provider,
        outcome=outcome.result.value,
        detail=outcome.detail,
        started_at=started_at,
    )


def _tell(mail: OutboundMail, state: State, outcome: Outcome) -> None:
    """The events of this step for every recipient, and the trail."""
    addresses = [recipient.address for recipient in mail.remaining()]
    reports = [Report(EVENT_AFTER[state], address, outcome.detail[:500]) for address in addresses]
    apply_reports(mail, [*reports, *outcome.reports])
    if act := ACT_AFTER.get(state):
        changes = {"recipients": addresses, "subject": mail.message.subject, "detail": outcome.detail[:500]}
        record(act, mail.message, account_id=mail.account_id, inbox_id=mail.inbox_id, changes=changes)


def give_up_stranded(limit: int = 100) -> int:
    """A mail whose worker did not come back within its lease is unknown: perhaps the provider has it. How many there were."""
    stranded = list(OutboundMail.objects.stranded().order_by("pk")[:limit])
    for mail in stranded:
        assert mail.lease_until is not None  # stranded() chose it by its lease
        settle(
            mail,
            Outcome(Result.UNKNOWN, "The worker that was sending it did not come back."),
            mail.provider,
            mail.lease_until,
        )
    return len(stranded)
