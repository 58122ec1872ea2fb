"""How accounts stand with the domains that they send from. A row is made when there is something to say of one."""

from datetime import date, datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from audit.record import Act, record
from inboxes.models import Inbox, Mode, SendingDomain

Status = SendingDomain.Status
TRIPPED = {"status": Status.TRIPPED}


def standing_of(account_id: str, domain: str) -> SendingDomain:
    """The row, made where there is none."""
    return SendingDomain.objects.get_or_create(account_id=account_id, domain=domain)[0]


@transaction.atomic
def trip_domain(domain: SendingDomain, reason: str, trips: int, trials_at: datetime) -> bool:
    """The account sends nothing from it until a few sends are tried at `trials_at`."""
    columns = {"status": Status.TRIPPED, "status_reason": reason, "trips": trips, "trials_at": trials_at}
    return _move(domain, Act.DOMAIN_TRIPPED, reason, columns | {"trials_left": None})


@transaction.atomic
def put_domain_on_trial(domain: SendingDomain, trials: int) -> bool:
    """It stays tripped, but so many recipients may be tried."""
    due = {"status": Status.TRIPPED, "trials_left": None, "trials_at": domain.trials_at}
    if not _is(domain, due):
        return False
    columns = {"trials_left": trials, "record_from": _reset(domain)}
    return _move(domain, Act.DOMAIN_ON_TRIAL, f"{trials} recipients", columns, due)


@transaction.atomic
def resume_domain(domain: SendingDomain, reason: str) -> bool:
    """An operator opens it again, with a clean record. Safe to repeat; whether anything changed."""
    if not _is(domain, TRIPPED):
        return False
    return _open(domain, reason, {"trips": 0, "record_from": _reset(domain)})


@transaction.atomic
def end_domain_trial(domain: SendingDomain, reason: str) -> bool:
    """The trial went well. Its record stays, and how often it tripped, should it do so again soon."""
    return _open(domain, reason, {})


def _open(domain: SendingDomain, reason: str, columns: dict[str, Any]) -> bool:
    opened = {"status": Status.ACTIVE, "status_reason": "", "trials_at": None, "trials_left": None}
    return _move(domain, Act.DOMAIN_RESUMED, reason, columns | opened, TRIPPED)


def _is(domain: SendingDomain, condition: dict[str, Any]) -> bool:
    return SendingDomain.objects.filter(pk=domain.pk, **condition).exists()


def _reset(domain: SendingDomain) -> datetime:
    """The sum over a domain goes by what each of its inboxes sent since it was reset, so they all are. Inboxes are locked in order."""
    inboxes = Inbox.objects.filter(account_id=domain.account_id, domain=domain.domain, mode=Mode.LIVE)
    locked = list(inboxes.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    now = timezone.now()
    Inbox.objects.filter(pk__in=locked).update(record_from=now)
    return now


@transaction.atomic
def begin_warm_up(account_id: str, domain: str) -> bool:
    """With the first mail of a domain: from today on (UTC) it sends as many a day as its warm-up has. Whether it begins only now: safe to
    repeat. An operator ends it sooner (delivery.outbound.warm_up).
    """
    row, is_new = SendingDomain.objects.get_or_create(
        account_id=account_id, domain=domain, defaults={"warms_up_from": timezone.now().date()}
    )
    if is_new:
        record(Act.WARM_UP_STARTED, row, account_id=account_id, changes={"domain": domain, "reason": "its first mail"})
    return is_new


@transaction.atomic
def set_warm_up(domain: SendingDomain, first_day: date | None, reason: str) -> bool:
    """An operator begins it anew, or ends it (None). Whether anything changed."""
    act = Act.WARM_UP_ENDED if first_day is None else Act.WARM_UP_STARTED
    if domain.warms_up_from == first_day:
        return False
    domain.days.all().delete()
    return _move(domain, act, reason, {"warms_up_from": first_day})


def _move(
    domain: SendingDomain, act: Act, reason: str, columns: dict[str, Any], condition: dict[str, Any] | None = None
) -> bool:
    if not SendingDomain.objects.filter(pk=domain.pk, **(condition or {})).update(**columns):
        domain.refresh_from_db()
        return False
    for name, value in columns.items():
        setattr(domain, name, value)
    record(act, domain, account_id=domain.account_id, changes={"domain": domain.domain, "reason": reason})
    return True
