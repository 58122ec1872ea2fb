"""The warm-up of a new domain: each day it sends more than the day before, and what is over waits for its day.

A mail gets its place when it is handed over for the first time, today's while there are any, else the first free one: then it is deferred
until then, and goes. Places are given under the lock of the domain's row, so that a day has exactly as many as it may, whoever asks.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from delivery.models import OutboundMail
from delivery.outbound.breaker import Standings
from delivery.outbound.outcomes import Report
from delivery.outbound.states import State
from delivery.outbound.tracking import apply_reports
from inboxes.models import Inbox, Mode, SendingDomain, WarmUpDay
from inboxes.sending_domains import begin_warm_up, set_warm_up
from mailbot.lib.clock import database_now
from threads.events import EventType
from threads.models import Message

WARM_UP = "warm_up"  # how the reason of whoever waits for his day begins
DAY = timedelta(days=1)


def hold_back(mails: Iterable[OutboundMail], standings: Standings) -> list[OutboundMail]:
    """Those of the claimed mails that may go now; the others are queued again for their day. Nothing is asked for domains that are warm."""
    return [mail for mail in mails if not _concerns(mail, standings) or _has_place(mail)]


def _concerns(mail: OutboundMail, standings: Standings) -> bool:
    if not settings.WARM_UP or mail.mode != Mode.LIVE or mail.inbox.domain == settings.MAILBOT_DOMAIN:
        return False
    if mail.attempts or _waited(mail):  # it has had its place
        return False
    standing = standings.get((mail.account_id, mail.inbox.domain))
    return standing is None or limit_on(standing, timezone.now().date()) is not None


def _waited(mail: OutboundMail) -> bool:
    return any(recipient.reason.startswith(WARM_UP) for recipient in mail.recipients.all())


def limit_on(domain: SendingDomain, day: date) -> int | None:
    """How many recipients it may send to on that day; None: as many as it likes."""
    if domain.warms_up_from is None:
        return None
    number = max((day - domain.warms_up_from).days, 0)
    return settings.WARM_UP[number] if number < len(settings.WARM_UP) else None


@transaction.atomic
def _has_place(mail: OutboundMail) -> bool:
    """Takes one. Whether it is today's; otherwise the mail waits."""
    # Its own row, while our lease is the current one, then its inbox, then the domain: in this order, as everybody does.
    ours = OutboundMail.objects.filter(pk=mail.pk, state=State.SENDING, lease_token=mail.lease_token)
    if not ours.select_for_update(no_key=True).values_list("pk").first():
        return False
    Inbox.objects.select_for_update(no_key=True).get(pk=mail.inbox_id)
    today = timezone.now().date()
    begin_warm_up(mail.account_id, mail.inbox.domain)
    rows = SendingDomain.objects.select_for_update(no_key=True)
    domain = rows.get(account_id=mail.account_id, domain=mail.inbox.domain)
    day, share = _take(domain, len(mail.recipients.all()), today)
    if day == today:
        return True
    at = datetime.combine(day, time.min, UTC) + DAY * share
    ours.update(state=State.QUEUED, lease_token="", lease_until=None, next_attempt_at=at)
    reason = f"{WARM_UP}: {domain.domain} is new and sends more each day; this one waits for {day}"
    addresses = [recipient.address for recipient in mail.recipients.all()]
    apply_reports(mail, [Report(EventType.MESSAGE_DEFERRED, address, reason) for address in addresses])
    return False


def _take(domain: SendingDomain, recipients: int, today: date) -> tuple[date, float]:
    """The first day with room, and how full it was: its mails are spread over it. A mail to more than a day has gets an empty day."""
    taken = dict(WarmUpDay.objects.filter(domain=domain, day__gte=today).values_list("day", "taken"))
    day = today
    while (limit := limit_on(domain, day)) is not None and taken.get(day, 0) and taken[day] + recipients > limit:
        day += DAY
    if limit is None:
        return day, 0.0
    row, _ = WarmUpDay.objects.get_or_create(account_id=domain.account_id, domain=domain, day=day)
    WarmUpDay.objects.filter(pk=row.pk).update(taken=row.taken + recipients)
    return day, min(row.taken / limit, 0.99)


def end_warm_up(domain: SendingDomain, reason: str) -> bool:
    """An operator ends it: what waits goes now."""
    return _set(domain, None, reason)


def start_warm_up(domain: SendingDomain, reason: str) -> bool:
    """An operator begins it anew, today."""
    return _set(domain, timezone.now().date(), reason)


@transaction.atomic
def _set(domain: SendingDomain, first_day: date | None, reason: str) -> bool:
    if not set_warm_up(domain, first_day, reason):
        return False
    if first_day is None:
        _waiting(domain).update(next_attempt_at=database_now())
    return True


def _waiting(domain: SendingDomain) -> QuerySet[OutboundMail]:
    queued = OutboundMail.objects.filter(state=State.QUEUED, attempts=0, next_attempt_at__gt=database_now())
    whose = {"account_id": domain.account_id, "inbox__account_id": domain.account_id, "inbox__domain": domain.domain}
    return queued.filter(**whose, message__status=Message.Status.DEFERRED)
