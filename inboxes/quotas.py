"""Which accounts have used up their storage: looked at by a sweep, so that no mail has to ask for it.

What counts is what the inboxes hold: the octets of each message as it came or left (as RFC 9208 counts STORAGE), and its attachments,
which are kept beside it. An account that is full takes no mail (452 4.2.2, the sender tries again) and sends none with files.
"""

from collections.abc import Iterable

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum

from audit.record import Act, record
from inboxes.models import Account, Inbox
from mailbot.lib.scope import acting_for_everybody

AT_ONCE = 500


def sweep_quotas() -> int:
    """Mark the accounts that have become full, and those that have room again; how many changed."""
    last, changed = "", 0
    while accounts := list(_with_quota().filter(pk__gt=last).order_by("pk")[:AT_ONCE]):
        changed += _mark(accounts)
        last = accounts[-1].pk
    return changed


def look_again(account_id: str) -> None:
    """The same for one account at once, whose quota changed."""
    _mark(Account.objects.filter(pk=account_id))


def see_whether_room(account_id: str) -> None:
    """The same where something was erased. Adding up costs something with many inboxes, so only for an account that is full."""
    _mark(Account.objects.filter(pk=account_id, is_full=True))


def _with_quota() -> QuerySet[Account]:
    if settings.ACCOUNT_STORAGE_QUOTA:
        return Account.objects.all()
    return Account.objects.filter(Q(storage_quota__isnull=False) | Q(is_full=True))


def _mark(accounts: Iterable[Account]) -> int:
    listed = list(accounts)
    used = octets_of([account.pk for account in listed])
    now_full = {
        account.pk: account.quota is not None and used.get(account.pk, 0) >= account.quota for account in listed
    }
    changed = [account for account in listed if account.is_full != now_full[account.pk]]
    return sum(_mark_one(account, used.get(account.pk, 0), now_full[account.pk]) for account in changed)


def octets_of(account_ids: list[str]) -> dict[str, int]:
    """What the inboxes of each account hold, whether or not the caller sees them; deleted ones too: until they are purged, their content
    is kept."""
    with acting_for_everybody("what the account's other inboxes hold counts, too"):
        rows = Inbox.objects.filter(account_id__in=account_ids).order_by().values_list("account_id")
        return dict(rows.annotate(octets=Sum(F("message_octets") + F("attachment_octets"))))


@transaction.atomic
def _mark_one(account: Account, octets: int, is_full: bool) -> bool:
    if not Account.objects.filter(pk=account.pk, is_full=not is_full).update(is_full=is_full):
        return False
    act = Act.ACCOUNT_FULL if is_full else Act.ACCOUNT_HAS_ROOM
    record(act, account, account_id=account.pk, changes={"octets": octets, "storage_quota": account.quota})
    return True
