"""The circuit breaker: an inbox too much of whose mail bounces, or is complained about, sends no more; the others go on.

closed → tripped, by the news that was one too many → on trial after a pause: so many recipients may be tried → closed, or tripped for twice
as long. An operator closes it whenever he likes. The same for an account's share of a domain; a provider is paused (breaker_rounds).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple, TypedDict

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from delivery.models import OutboundMail
from inboxes.models import Breaker, Inbox, Mode, SendingDomain, SendingRecord
from inboxes.provisioning import trip
from inboxes.sending_record import Figures, since_reset, summed
from mailbot.lib.clock import database_now

LONGEST_PAUSE = timedelta(days=1)
Standings = dict[tuple[str, str], SendingDomain]


class Stop(NamedTuple):
    """Why a mail is blocked, as `queue.Blocked` takes it."""

    reason: str
    message: str
    fix: str
    until: datetime | None = None


class NextTrial(TypedDict):
    trips: int
    trials_at: datetime


# --- Whether it may send ---


def why_stopped(inbox: Inbox, queued_at: datetime | None) -> Stop | None:
    """`queued_at`: of a mail that is handed over; None: of one that is about to be queued. No query."""
    if inbox.status != Inbox.Status.TRIPPED or _is_trial(inbox, queued_at):
        return None
    message = f"This inbox is tripped: {inbox.status_reason or 'no reason given'}."
    fix = f"Mend the cause, then resume it with POST /v1/inboxes/{inbox.pk}/resume, or ask an operator."
    return Stop("inbox_tripped", message, fix, _until(inbox))


def why_domain_stopped(standing: SendingDomain | None, queued_at: datetime | None) -> Stop | None:
    """The same of the domain, by what `standings_of` found."""
    if standing is None or standing.status != SendingDomain.Status.TRIPPED or _is_trial(standing, queued_at):
        return None
    message = f"The domain {standing.domain} is tripped: {standing.status_reason or 'no reason given'}."
    fix = "Mend the cause, then ask an operator to resume the domain, or wait for its trial sends."
    return Stop("domain_tripped", message, fix, _until(standing))


def take_trials(inbox: Inbox, recipients: int) -> Stop | None:
    """Called with the inbox locked, for a mail that is about to be queued: what is tripped gives it places of its trial, or stops it."""
    if inbox.status == Inbox.Status.TRIPPED and not _take(inbox, recipients):
        return _no_room(inbox, "inbox_tripped", "This inbox")
    if inbox.mode != Mode.LIVE:
        return None
    tripped = SendingDomain.objects.filter(account_id=inbox.account_id, status=SendingDomain.Status.TRIPPED)
    domain = tripped.filter(domain=inbox.domain).first()
    if domain is None or _take(domain, recipients):
        return None
    return why_domain_stopped(domain, None) or _no_room(domain, "domain_tripped", f"The domain {domain.domain}")


def standings_of(mails: Iterable[OutboundMail]) -> Standings:
    """What is known of the domains of these, by account and domain. At most one query, and none for the sandbox."""
    senders = {(mail.account_id, mail.inbox.domain) for mail in mails if mail.mode == Mode.LIVE}
    if not senders:
        return {}
    accounts, domains = zip(*senders, strict=True)
    rows = SendingDomain.objects.filter(account_id__in=set(accounts), domain__in=set(domains))
    return {(row.account_id, row.domain): row for row in rows if (row.account_id, row.domain) in senders}


def _is_trial(tripped: Breaker, queued_at: datetime | None) -> bool:
    """Once its pause is over, whatever is queued has got a place of the trial; what was queued before that was queued before it tripped."""
    if tripped.trials_left is None or tripped.trials_at is None:
        return False
    return tripped.trials_left > 0 if queued_at is None else queued_at >= tripped.trials_at


def _take(tripped: Breaker, recipients: int) -> bool:
    rows = type(tripped)._default_manager.filter(pk=tripped.pk, trials_left__gte=recipients)
    return bool(rows.update(trials_left=F("trials_left") - recipients))


def _no_room(tripped: Breaker, reason: str, what: str) -> Stop:
    left = tripped.trials_left or 0
    message = f"{what} is tripped and on trial: {left} more recipients may be tried."
    fix = "Send to fewer recipients, or wait until it is known what became of those that were tried."
    return Stop(reason, message, fix)


def _until(tripped: Breaker) -> datetime | None:
    """When its trial begins, where that is ahead."""
    return tripped.trials_at if tripped.trials_left is None else None


# --- Whether its record is too bad ---


def judge(inbox: Inbox) -> None:
    """Called with the inbox locked, when a recipient bounced or complained. One query, and none where it is stopped already."""
    if inbox.status == Inbox.Status.ACTIVE:
        why = verdict(_figures_of(inbox), settings.BREAKER_SENDS)
    elif inbox.status == Inbox.Status.TRIPPED and inbox.trials_left is not None:
        why = verdict_on_trial(_figures_of(inbox))
    else:
        return
    if why:
        trip(inbox, why, **next_trial(inbox))


def verdict(figures: Figures, fewest_sends: int) -> str:
    """Why that is too bad; empty when it is not, or when too little was sent to say so."""
    return _too_bad(figures, figures.sent) if figures.sent >= fewest_sends else ""


def verdict_on_trial(figures: Figures) -> str:
    """The same of a trial, of which one knows how many there will be."""
    return _too_bad(figures, max(figures.sent, settings.BREAKER_TRIALS))


def next_trial(tripped: Breaker) -> NextTrial:
    """How often it tripped now, each soon after the other, and when it is tried again."""
    again = tripped.record_from is not None and timezone.now() - tripped.record_from < window()
    trips = min(tripped.trips + 1 if again else 1, 30)
    pause = min(timedelta(seconds=settings.BREAKER_PAUSE * 2 ** (trips - 1)), LONGEST_PAUSE)
    return {"trips": trips, "trials_at": database_now() + pause}


def window() -> timedelta:
    return timedelta(seconds=settings.BREAKER_WINDOW)


def _figures_of(inbox: Inbox) -> Figures:
    rows = SendingRecord.objects.filter(inbox_id=inbox.pk)
    return summed(since_reset(rows, timezone.now() - window()))


def _too_bad(figures: Figures, of: int) -> str:
    if _is_above(figures.bounced, of, settings.BREAKER_BOUNCES):
        return f"{figures.bounced} of {of} recipients bounced, more than {settings.BREAKER_BOUNCES} %"
    enough = figures.complained >= settings.BREAKER_FEWEST_COMPLAINTS
    if enough and _is_above(figures.complained, of, settings.BREAKER_COMPLAINTS):
        return f"{figures.complained} of {of} recipients complained, more than {settings.BREAKER_COMPLAINTS} %"
    return ""


def _is_above(number: int, of: int, percent: Decimal | None) -> bool:
    return percent is not None and number * 100 > percent * of
