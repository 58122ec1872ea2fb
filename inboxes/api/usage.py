"""GET /v1/usage: what was used, and how much may be."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import Count, F, QuerySet, Sum
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inboxes.api import examples
from inboxes.api.views import InboxScopedView, visible_inboxes
from inboxes.models import Account, DailyUsage, Inbox, Mode
from inboxes.permissions import USAGE_READ
from inboxes.usage import COUNTED, by_day, midnight_after, recipients_of_account
from mailbot.api.errors import invalid
from mailbot.api.rate_limits import CallCount
from mailbot.api.renderers import timestamp
from mailbot.api.schema import described, shown_as
from mailbot.api.views import data

USUAL_DAYS = 30
MOST_DAYS = 366
NO_DAY = "This is neither a day (2026-11-24) nor a time (2026-11-24T10:15:00Z)."


class DayField(serializers.Field[date, Any, Any, Any]):
    """`2026-11-24`, or a time, of which the day in UTC counts."""

    openapi = date | datetime
    DAY, MOMENT = serializers.DateField(), serializers.DateTimeField(default_timezone=UTC)

    def to_internal_value(self, data: Any) -> date:
        text = str(data)
        try:
            day: date = (self.DAY if len(text) == len("2026-11-24") else self.MOMENT).run_validation(text)
        except serializers.ValidationError:
            raise serializers.ValidationError(NO_DAY) from None
        return day.date() if isinstance(day, datetime) else day

    def to_representation(self, value: date) -> str:
        return value.isoformat()


class UsageQuery(serializers.Serializer[Any]):
    """Whole days in UTC, both included. Without `from` thirty days; without `to` until today."""

    to = DayField(required=False)

    def get_fields(self) -> dict[str, Any]:
        return {"from": DayField(required=False), **super().get_fields()}  # `from` is a word of the language

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        last = attrs.get("to", timezone.now().date())
        first = attrs.get("from", max(date.min + timedelta(USUAL_DAYS), last) - timedelta(days=USUAL_DAYS - 1))
        if first > last:
            raise invalid("from", "It is after “to”.")
        if (last - first).days >= MOST_DAYS:
            raise invalid("from", f"These are more than {MOST_DAYS} days.", "Ask for a shorter time, several times.")
        return {"first": first, "last": last}


@shown_as(examples.USAGE)
class UsageSerializer(serializers.Serializer[Any]):
    """The shape of the answer."""

    inboxes = serializers.DictField(child=serializers.IntegerField(), help_text="by status, and their `total`")
    messages = serializers.DictField(child=serializers.IntegerField(), help_text="received, sent, recipients, octets")
    days = serializers.ListField(child=serializers.DictField(), help_text="the same for each day with mail")
    storage = serializers.DictField(child=serializers.IntegerField())
    limits = serializers.DictField()
    mode = serializers.ChoiceField(choices=Mode.choices)
    to = serializers.DateField()

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateField(), **super().get_fields()}


class UsageView(InboxScopedView):
    """GET /usage"""

    needs = USAGE_READ

    @described("What was used, and what may be", query=UsageQuery, answer=UsageSerializer)
    def get(self, request: Request) -> Response:
        """Of the inboxes that the key can see: how many there are, mail in and out by day, and what they hold. Then the limits that
        hold for its calls and its account."""
        query = self.query(UsageQuery)
        days = by_day(self._counted(), query["first"], query["last"])
        used = {
            "mode": self.key.mode,
            "from": query["first"].isoformat(),
            "to": query["last"].isoformat(),
            "inboxes": inboxes_by_status(visible_inboxes(self.key)),
            "messages": {name: sum(day[f"{name}_sum"] for day in days) for name in COUNTED},
            "days": [_told(day) for day in days],
            "storage": storage_of(visible_inboxes(self.key)),
            "limits": self._limits(),
        }
        return data(used)

    def _counted(self) -> QuerySet[DailyUsage]:
        rows = DailyUsage.objects.filter(account_id=self.key.account_id, mode=self.key.mode)
        return rows if self.key.inbox_ids is None else rows.filter(inbox_id__in=self.key.inbox_ids)

    def _limits(self) -> dict[str, Any]:
        """A key of some inboxes is not told what the others have used."""
        account, today = Account.objects.get(pk=self.key.account_id), timezone.now().date()
        is_limited = self.key.inbox_ids is not None
        of_all = None if is_limited else recipients_of_account(account.pk, self.key.mode, today)
        return {
            "calls": rates_of(self.count),
            "recipients_a_day": {
                "limit": account.send_limit,
                "used": of_all,
                "resets_at": timestamp(midnight_after(today)),
            },
            "storage_octets": {"limit": account.quota, "is_full": account.is_full},
        }


def _told(day: dict[str, Any]) -> dict[str, Any]:
    return {"day": day["day"].isoformat(), **{name: day[f"{name}_sum"] for name in COUNTED}}


def inboxes_by_status(inboxes: QuerySet[Inbox]) -> dict[str, int]:
    """One whose time is over counts as deleted, as it is shown."""
    ended = Inbox.ended(timezone.now())
    living = inboxes.exclude(ended).order_by().values_list("status").annotate(Count("pk"))
    counted = {status.value: 0 for status in Inbox.Status} | dict(living)
    counted[Inbox.Status.DELETED] = inboxes.filter(ended).count()
    return {**counted, "total": sum(counted.values())}


def storage_of(inboxes: QuerySet[Inbox]) -> dict[str, int]:
    """Octets that these inboxes hold now; deleted ones, too, until they are purged."""
    sums = inboxes.aggregate(
        messages=Sum("message_octets"),
        attachments=Sum("attachment_octets"),
        kept=Sum(F("message_count") - F("messages_removed")),
    )
    octets = {"messages_octets": sums["messages"] or 0, "attachments_octets": sums["attachments"] or 0}
    return {"messages": sums["kept"] or 0, **octets, "octets": sum(octets.values())}


def rates_of(call: CallCount) -> dict[str, Any]:
    """As of this very call; null: no limit."""
    shown: dict[str, Any] = {"key": None, "account": None}
    for scope, count in call.counts.items():
        shown[scope] = {"limit": str(count.rate), "remaining": count.remaining}
    return shown
