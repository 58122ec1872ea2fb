"""How long inboxes keep what they have: classes of an account, one of which may be for all that name none."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from inboxes.models import Account, Inbox, Mode, RetentionClass
from inboxes.retention_models import LEAST_AUDIT_DAYS, LEAST_DAYS
from mailbot.lib.scope import acting_for_everybody

DAYS = ("content_days", "raw_days", "events_days", "audit_days")
MOST_OF_ACCOUNT = 100


class Periods(NamedTuple):
    """In days. None: for ever."""

    content: int | None
    raw: int | None
    events: int | None
    audit: int | None


class ClassRefused(ValueError):
    """The class cannot be as it is wanted; `field` says which part is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class ClassInUse(Exception):
    """Inboxes name it."""

    def __init__(self, retention: RetentionClass, inboxes: int) -> None:
        named = f"{inboxes} inboxes name" if inboxes > 1 else "1 inbox names"
        super().__init__(f"{named} the class “{retention.name}”, deleted inboxes among them too.")


def class_of(inbox: Inbox) -> RetentionClass | None:
    """Its own, else the account's default one."""
    with acting_for_everybody("an inbox is kept by its class, whoever asks"):
        if inbox.retention_class_id:
            return RetentionClass.objects.get(pk=inbox.retention_class_id)
        return RetentionClass.objects.filter(account_id=inbox.account_id, is_default=True).first()


def periods_of(inbox: Inbox) -> Periods:
    return periods(class_of(inbox))


def periods_among(inboxes: Iterable[Inbox]) -> dict[str, Periods]:
    """The same for many, by their ids."""
    asked = list(inboxes)
    with acting_for_everybody("an inbox is kept by its class, whoever asks"):
        named = RetentionClass.objects.in_bulk(
            {inbox.retention_class_id for inbox in asked if inbox.retention_class_id}
        )
        defaults = RetentionClass.objects.filter(account_id__in={inbox.account_id for inbox in asked}, is_default=True)
        default_of = {retention.account_id: retention for retention in defaults}
    found = {inbox.pk: named.get(inbox.retention_class_id or "") or default_of.get(inbox.account_id) for inbox in asked}
    return {pk: periods(retention) for pk, retention in found.items()}


def periods(retention: RetentionClass | None) -> Periods:
    """Without a class: as the server is set, which knows a time for raw mail only."""
    if retention is None:
        return Periods(None, settings.RAW_RETENTION_DAYS or None, None, None)
    return Periods(retention.content_days, retention.raw_days, retention.events_days, retention.audit_days)


def has_class(class_path: str = "retention_class_id", account_path: str = "account_id") -> Q:
    """For queries of sweeps: whether a class says how long an inbox keeps what it has."""
    default = RetentionClass.objects.filter(account_id=OuterRef(account_path), is_default=True)
    return Q((f"{class_path}__isnull", False)) | Q(Exists(default))


def inboxes_of(retention: RetentionClass) -> QuerySet[Inbox]:
    """Those that it counts for: that name it, and where it is the default those that name none."""
    named = Q(retention_class=retention)
    return Inbox.objects.filter(named | Q(retention_class=None) if retention.is_default else named).filter(
        account_id=retention.account_id
    )


def is_live(retention: RetentionClass) -> bool:
    """Whether live mail depends on it: then it is none of a test key's business."""
    return retention.is_default or inboxes_of(retention).filter(mode=Mode.LIVE).exists()


def make_class(account: Account, values: Mapping[str, Any]) -> RetentionClass:
    """Raises ClassRefused. One that is the default takes that from the one before."""
    retention = RetentionClass(account=account, **values)
    if RetentionClass.objects.filter(account=account).count() >= MOST_OF_ACCOUNT:
        raise ClassRefused("name", f"An account has {MOST_OF_ACCOUNT} classes at most.")
    return _save(retention)


def change_class(retention: RetentionClass, changes: Mapping[str, Any]) -> RetentionClass:
    """Raises ClassRefused. A shorter time counts for what is there already."""
    for name, value in changes.items():
        setattr(retention, name, value)
    return _save(retention)


def delete_class(retention: RetentionClass) -> None:
    """Raises ClassInUse while inboxes name it. Those of which it was the default keep everything from now on."""
    with transaction.atomic():
        RetentionClass.objects.select_for_update().get(pk=retention.pk)
        if number := Inbox.objects.filter(retention_class=retention).count():
            raise ClassInUse(retention, number)
        retention.delete()


def _save(retention: RetentionClass) -> RetentionClass:
    _check(retention)
    try:
        with transaction.atomic():
            if retention.is_default:
                _take_default(retention)
            retention.save()
            inboxes_of(retention).update(retention_due_at=timezone.now())
    except IntegrityError:
        raise ClassRefused("name", f"A class of this account is called “{retention.name}” already.") from None
    return retention


def _take_default(retention: RetentionClass) -> None:
    for other in RetentionClass.objects.filter(account_id=retention.account_id, is_default=True).exclude(
        pk=retention.pk
    ):
        other.is_default = False
        other.save(update_fields=["is_default"])  # by save, so that the trail shows it


def _check(retention: RetentionClass) -> None:
    for name in DAYS:
        days, least = getattr(retention, name), LEAST_AUDIT_DAYS if name == "audit_days" else LEAST_DAYS
        if days is not None and days < least:
            why = f"The audit trail is kept for {least} days at least." if name == "audit_days" else "A day at least."
            raise ClassRefused(name, why)
