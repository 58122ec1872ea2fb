"""What the breaker does by the clock: trials begin and end, and the sums over domains and providers are looked at.

What one inbox does is dealt with by its own breaker at once (delivery.outbound.breaker). So a domain is stopped only by inboxes that are
not stopped themselves, and by more than one of them; a provider by more than one domain.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from audit.lookups import within
from audit.models import AuditEntry
from audit.record import Act, record
from delivery.models import OutboundMail
from delivery.outbound.breaker import LONGEST_PAUSE, next_trial, verdict, verdict_on_trial, window
from delivery.outbound.states import State
from delivery.provider_rows import trip_provider
from inboxes.models import Breaker, Inbox, Mode, Provider, SendingDomain, SendingRecord
from inboxes.provisioning import end_trial, put_on_trial, trip
from inboxes.sending_domains import end_domain_trial, put_domain_on_trial, standing_of, trip_domain
from inboxes.sending_record import last_of, since_reset, summed
from mailbot.lib.clock import database_now, is_over

lines = structlog.get_logger(__name__)

AT_ONCE = 200
LATELY = timedelta(minutes=10)  # two rows of the record: a round comes every 15 s, and may be late
BAD = Q(bounced__gt=0) | Q(complained__gt=0)
WENT_WELL = "the trial sends went well"
Records = QuerySet[SendingRecord]
Tripped = TypeVar("Tripped", bound=Breaker)


def look_after_breakers() -> None:
    """One round. Safe to call at any time, from any process."""
    for inbox in _due(Inbox.objects.filter(status=Inbox.Status.TRIPPED)):
        put_on_trial(inbox, settings.BREAKER_TRIALS)
    for inbox in _tried(Inbox.objects.filter(status=Inbox.Status.TRIPPED)):
        _end_inbox_trial(inbox.pk)
    for domain in _due(SendingDomain.objects.filter(status=SendingDomain.Status.TRIPPED)):
        put_domain_on_trial(domain, settings.BREAKER_TRIALS)
    for domain in _tried(SendingDomain.objects.filter(status=SendingDomain.Status.TRIPPED)):
        _end_domain_trial(domain)
    for account_id, name in _domains_with_bad_news():
        _judge_domain(account_id, name)
    for provider in _providers_with_bad_news():
        _judge_provider(provider)


def _due(tripped: QuerySet[Tripped]) -> list[Tripped]:
    over = is_over("trials_at", database_now(), LONGEST_PAUSE)
    return list(tripped.filter(over, trials_left=None).order_by("trials_at")[:AT_ONCE])


def _tried(tripped: QuerySet[Tripped]) -> list[Tripped]:
    """All places of their trials are taken. Whoever waits longest for an end of it comes last: others are sooner done."""
    return list(tripped.filter(trials_left=0).order_by("-trials_at")[:AT_ONCE])


# --- The end of a trial ---


@transaction.atomic
def _end_inbox_trial(inbox_id: str) -> None:
    inbox = Inbox.objects.select_for_update(no_key=True).get(pk=inbox_id)
    if inbox.status != Inbox.Status.TRIPPED or inbox.trials_left != 0:
        return
    rows = since_reset(SendingRecord.objects.filter(inbox_id=inbox_id), timezone.now() - window())
    mails = OutboundMail.objects.filter(inbox_id=inbox_id)
    if why := verdict_on_trial(summed(rows)):
        trip(inbox, why, **next_trial(inbox))
    elif missing := _missing(rows, mails):
        Inbox.objects.filter(pk=inbox_id).update(trials_left=missing)
    elif _is_known(rows, mails):
        end_trial(inbox, WENT_WELL)


def _end_domain_trial(domain: SendingDomain) -> None:
    rows = _of_domain(domain.account_id, domain.domain)
    mails = OutboundMail.objects.filter(
        account_id=domain.account_id, inbox__domain=domain.domain, inbox__account_id=domain.account_id, mode=Mode.LIVE
    )
    if why := verdict_on_trial(summed(rows)):
        trip_domain(domain, why, **next_trial(domain))
    elif missing := _missing(rows, mails):
        SendingDomain.objects.filter(pk=domain.pk, trials_left=0).update(trials_left=missing)
    elif _is_known(rows, mails):
        end_domain_trial(domain, WENT_WELL)


def _missing(rows: Records, mails: QuerySet[OutboundMail]) -> int:
    """Of the places that were taken, those with which nothing was sent: a list forbade it, or it was cancelled. They are given again."""
    return 0 if _is_under_way(mails) else max(0, settings.BREAKER_TRIALS - summed(rows).sent)


def _is_known(rows: Records, mails: QuerySet[OutboundMail]) -> bool:
    """Whether all of it arrived, or it has been quiet for long enough: not each provider tells of deliveries."""
    if _is_under_way(mails):
        return False
    figures, last = summed(rows), last_of(rows)
    quiet = timedelta(seconds=settings.BREAKER_QUIET)
    return figures.delivered >= figures.sent or last is None or last + quiet <= timezone.now()


def _is_under_way(mails: QuerySet[OutboundMail]) -> bool:
    due = Q(state=State.QUEUED, next_attempt_at__lte=database_now())
    return mails.filter(due | Q(state__in=[State.PREPARING, State.SENDING])).exists()


# --- Domains and providers ---


def _bad_news() -> Records:
    return SendingRecord.objects.filter(BAD, starts_at__gte=timezone.now() - LATELY, inbox__mode=Mode.LIVE)


def _domains_with_bad_news() -> Iterable[tuple[str, str]]:
    return list(_bad_news().order_by().values_list("account_id", "inbox__domain").distinct())


def _of_domain(account_id: str, name: str) -> Records:
    whose = {"account_id": account_id, "inbox__account_id": account_id, "inbox__domain": name, "inbox__mode": Mode.LIVE}
    return _of_others(SendingRecord.objects.filter(**whose))


def _of_others(rows: Records) -> Records:
    """Of inboxes that are not stopped themselves."""
    return since_reset(rows.filter(inbox__trials_at=None), timezone.now() - window())


def _judge_domain(account_id: str, name: str) -> None:
    rows = _of_domain(account_id, name)
    standing = SendingDomain.objects.filter(account_id=account_id, domain=name).first()
    if standing is not None and standing.status == SendingDomain.Status.TRIPPED:
        why = verdict_on_trial(summed(rows)) if standing.trials_left is not None else ""
    else:
        why = verdict(summed(rows), settings.BREAKER_DOMAIN_SENDS) if _are_many(rows, "inbox_id") else ""
    if why:
        standing = standing or standing_of(account_id, name)
        trip_domain(standing, why, **next_trial(standing))


def _are_many(rows: Records, whose: str) -> bool:
    """Whether the bad news are of more than one."""
    number: int = rows.filter(BAD).aggregate(number=Count(whose, distinct=True))["number"]
    return number > 1


def _providers_with_bad_news() -> list[Provider]:
    ids = _bad_news().exclude(provider_id="").order_by().values_list("provider_id", flat=True).distinct()
    return list(Provider.objects.filter(pk__in=list(ids), is_paused=False))


def _judge_provider(provider: Provider) -> None:
    tripped = SendingDomain.objects.filter(account_id=OuterRef("account_id"), domain=OuterRef("inbox__domain"))
    rows = _of_others(SendingRecord.objects.filter(provider_id=provider.pk))
    rows = rows.exclude(Exists(tripped.filter(status=SendingDomain.Status.TRIPPED)))
    if provider.record_from is not None:
        rows = rows.filter(starts_at__gte=provider.record_from)
    if not _are_many(rows, "inbox__domain"):
        return
    if why := verdict(summed(rows), settings.BREAKER_DOMAIN_SENDS):
        if provider.account_id:
            trip_provider(provider, why)
        else:
            _warn_of(provider, why)


def _warn_of(provider: Provider, why: str) -> None:
    """A shared one is not stopped by what some accounts send through it: whoever runs the server decides. He is told once a window."""
    told = AuditEntry.objects.filter(object_pk=provider.pk, act=Act.PROVIDER_WARNED_OF)
    if not told.filter(within(since=timezone.now() - window())).exists():
        record(Act.PROVIDER_WARNED_OF, provider, account_id="", changes={"reason": why})
        lines.warning("the mail of a shared provider does badly", provider=provider.name, reason=why)
