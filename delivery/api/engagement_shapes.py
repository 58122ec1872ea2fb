"""Shapes of /v1/engagement."""

import re
from typing import Any, NamedTuple

from rest_framework import serializers

from delivery.api import examples
from mailbot.api.fields import OneOf, StoredField
from mailbot.api.pagination import PageQuery
from mailbot.api.schema import shown_as
from mailbot.lib.ids import ID_LENGTH
from threads.api.serializers import EventSerializer, RecipientState
from threads.event_counts import COUNTED, KINDS
from threads.models import Event

FREQUENT = frozenset({"sent", "delivered"})  # what becomes of nearly every mail; the others are threads.models.SELDOM
ENGAGED = {kind: name for name, kind in COUNTED.items()}  # short name → type
MOST_DAYS = 366
_PERIOD = re.compile(r"([1-9]\d{0,3})([hdw])")
_DAYS = {"h": 1 / 24, "d": 1, "w": 7}


class EngagementQuery(PageQuery):
    inbox_id = serializers.CharField(max_length=ID_LENGTH, required=False)
    event = OneOf(choices=sorted(ENGAGED), required=False)


class Period(NamedTuple):
    text: str
    days: int


class PeriodField(serializers.Field[Period, Any, Any, Any]):
    """`7d`, `4w`, `24h`: up to a year. Hours count as the days that they are a part of."""

    openapi = {"type": "string", "pattern": f"^{_PERIOD.pattern}$", "default": "7d", "examples": ["7d", "30d", "24h"]}

    def to_internal_value(self, data: Any) -> Period:
        found = _PERIOD.fullmatch(str(data))
        days = -int(-int(found[1]) * _DAYS[found[2]] // 1) if found else 0
        if not 1 <= days <= MOST_DAYS:
            raise serializers.ValidationError(
                f"“{data}” is not a period such as 24h, 7d or 4w, of {MOST_DAYS} days at most."
            )
        return Period(str(data), days)


class StatsQuery(serializers.Serializer[Any]):
    inbox_id = serializers.CharField(max_length=ID_LENGTH, required=False)
    period = PeriodField(required=False, default=Period("7d", 7))


@shown_as(examples.ENGAGEMENT_EVENT)
class EngagementEventSerializer(EventSerializer):
    """An event, and its short name."""

    event = serializers.SerializerMethodField()

    class Meta(EventSerializer.Meta):
        fields = [*EventSerializer.Meta.fields, "event"]

    def get_event(self, event: Event) -> str:
        """`opened` of `message.opened`."""
        return event.type.rpartition(".")[2]


def _whole_number() -> serializers.IntegerField:
    return serializers.IntegerField(min_value=0)


class CountsSerializer(serializers.Serializer[Any]):
    """What happened how often. `sent`, `delivered`, … once for each recipient; `opened` and `clicked` by readers, as far as can be told."""

    def get_fields(self) -> dict[str, Any]:
        return {kind: _whole_number() for kind in KINDS}


@shown_as(examples.ENGAGEMENT_STATS)
class StatsSerializer(serializers.Serializer[Any]):
    inbox_id = serializers.CharField(allow_null=True, help_text="Null: all that the key sees.")
    period = serializers.CharField()
    to = serializers.DateField()
    counts = CountsSerializer()
    rates = serializers.DictField(
        child=serializers.FloatField(allow_null=True),
        help_text="From 0 to 1; null where nothing was sent or delivered.",
    )
    days = serializers.ListField(child=serializers.DictField(), help_text="The same counts for each day that has any.")

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateField(), **super().get_fields()}


@shown_as(examples.ENGAGEMENT_TIMELINE)
class TimelineSerializer(serializers.Serializer[Any]):
    message_id = serializers.CharField()
    inbox_id = serializers.CharField()
    thread_id = serializers.CharField()
    subject = serializers.CharField()
    status = serializers.CharField()
    recipients = StoredField(list[RecipientState])
    opens = serializers.IntegerField(help_text="By readers, as far as can be told.")
    first_opened_at = serializers.DateTimeField(allow_null=True)
    clicks = serializers.IntegerField(help_text="Likewise.")
    first_clicked_at = serializers.DateTimeField(allow_null=True)
    events = EngagementEventSerializer(many=True)
