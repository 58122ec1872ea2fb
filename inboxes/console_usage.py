"""What accounts and inboxes use, and what they may use, as cells of the console."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet, Sum
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from inboxes.models import Account, DailyUsage, Inbox, Mode
from inboxes.quotas import octets_of
from inboxes.usage import COUNTED, recipients_of_account
from mailbot.lib.console_cells import badge, grouped, octets

DAYS = 30


def _last_days(rows: QuerySet[DailyUsage]) -> str:
    since = timezone.now().date() - timedelta(days=DAYS - 1)
    sums = rows.filter(day__gte=since).aggregate(**{f"{name}_sum": Sum(name) for name in COUNTED})
    received, sent, recipients, size = (sums[f"{name}_sum"] or 0 for name in COUNTED)
    out = f"{grouped(sent)} out to {grouped(recipients)} recipients"
    return f"{grouped(received)} in, {out}, {octets(size)}"


def _of(limit: int | None, shown: str) -> str:
    return "" if limit is None else f" of {shown}"


@admin.display(description=f"mail in {DAYS} days")
def mail_of_account(account: Account) -> str:
    return _last_days(DailyUsage.objects.filter(account=account, mode__in=Mode.values))


@admin.display(description=f"mail in {DAYS} days")
def mail_of_inbox(inbox: Inbox) -> str:
    return _last_days(DailyUsage.objects.filter(inbox=inbox))


@admin.display(description="recipients today")
def recipients_today(account: Account) -> str:
    """The limit holds for each mode by itself."""
    today, limit = timezone.now().date(), account.send_limit
    counted = ((mode, recipients_of_account(account.pk, mode, today)) for mode in (Mode.LIVE.value, Mode.TEST.value))
    return ", ".join(f"{grouped(number)}{_of(limit, grouped(limit or 0))} {mode}" for mode, number in counted)


@admin.display(description="storage")
def storage_of_account(account: Account) -> SafeString:
    used = octets_of([account.pk]).get(account.pk, 0)
    text = f"{octets(used)}{_of(account.quota, octets(account.quota or 0))}"
    return format_html("{} {}", text, badge("full") if account.is_full else "")


@admin.display(description="storage")
def storage_of_inbox(inbox: Inbox) -> str:
    return f"{octets(inbox.message_octets)} of messages, {octets(inbox.attachment_octets)} of attachments"


def servers_own(limit: str) -> str:
    """What holds for an account that leaves this field empty."""
    recipients, quota = settings.ACCOUNT_DAILY_SEND_LIMIT, settings.ACCOUNT_STORAGE_QUOTA
    shown = {"daily_send_limit": recipients and grouped(recipients), "storage_quota": quota and octets(quota)}
    return shown[limit] or "none"


LIMITS = ("daily_send_limit", "storage_quota")
"""Fields of an account that superusers set."""
USED_BY_ACCOUNT: tuple[Any, ...] = (recipients_today, storage_of_account, mail_of_account)
USED_BY_INBOX: tuple[Any, ...] = (storage_of_inbox, mail_of_inbox)
