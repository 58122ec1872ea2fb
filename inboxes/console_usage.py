"""What accounts and inboxes use, and what they may use, as cells of the console."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet, Sum
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from inboxes.models import Account, DailyUsage, Inbox, Mode
from inboxes.quotas import octets_of
from inboxes.sending_record import Figures, figures_of
from inboxes.usage import COUNTED, recipients_of_account
from mailbot.lib.console_cells import badge, grouped, moment, octets

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


@admin.display(description="what became of it")
def sending_record(inbox: Inbox) -> SafeString:
    """Recipients, by hour, day and week."""
    figures = figures_of([inbox.pk]).get(inbox.pk)
    if figures is None:
        return SafeString("nothing was sent in a week")
    return format_html_join(SafeString("<br>"), "{}: {}", ((window, _in_words(of)) for window, of in figures.items()))


def _in_words(figures: Figures) -> str:
    numbers = {name: getattr(figures, name) for name in ("delivered", "deferred", "bounced", "complained")}
    rates = {"bounced": figures.bounce_rate, "complained": figures.complaint_rate}
    shown = (
        f"{grouped(number)} {name}" + (f" ({100 * rates[name]:.2f} %)" if name in rates and number else "")
        for name, number in numbers.items()
        if number or name != "deferred"
    )
    return f"{grouped(figures.sent)} sent, {', '.join(shown)}"


@admin.display(description="breaker")
def breaker(inbox: Inbox) -> SafeString:
    if inbox.status != Inbox.Status.TRIPPED:
        return SafeString("closed")
    if inbox.trials_left is not None:
        return format_html("{} {} more recipients may be tried", badge("on trial"), inbox.trials_left)
    return format_html("{} trial sends from {}", badge("tripped"), moment(inbox.trials_at))


LIMITS = ("daily_send_limit", "storage_quota")
"""Fields of an account that superusers set."""
USED_BY_ACCOUNT: tuple[Any, ...] = (recipients_today, storage_of_account, mail_of_account)
USED_BY_INBOX: tuple[Any, ...] = (storage_of_inbox, mail_of_inbox)
SENDING_OF_INBOX: tuple[Any, ...] = (breaker, sending_record)
