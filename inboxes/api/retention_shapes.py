"""Shapes of /v1/retention-classes."""

from typing import Any

from rest_framework import serializers

from inboxes.api import holds_examples as examples
from inboxes.models import RetentionClass
from inboxes.retention_models import LEAST_AUDIT_DAYS, LEAST_DAYS, MOST_DAYS
from mailbot.api.pagination import PageQuery
from mailbot.api.schema import shown_as
from mailbot.api.shapes import RowSerializer
from mailbot.api.views import StrictSerializer


def days(least: int = LEAST_DAYS, **options: Any) -> serializers.IntegerField:
    """A number of days; null: for ever."""
    return serializers.IntegerField(
        min_value=least, max_value=MOST_DAYS, allow_null=True, **{"required": False, **options}
    )


@shown_as(examples.CLASS_BODY)
class ClassBody(StrictSerializer):
    name = serializers.CharField(max_length=100)
    content_days = days(default=None)
    raw_days = days(default=None)
    events_days = days(default=None)
    audit_days = days(LEAST_AUDIT_DAYS, default=None)
    is_default = serializers.BooleanField(required=False, default=False)


@shown_as(examples.CLASS_PATCH)
class ClassPatch(StrictSerializer):
    name = serializers.CharField(max_length=100, required=False)
    content_days = days()
    raw_days = days()
    events_days = days()
    audit_days = days(LEAST_AUDIT_DAYS)
    is_default = serializers.BooleanField(required=False)


class ClassQuery(PageQuery):
    pass


@shown_as(examples.RETENTION_CLASS)
class ClassSerializer(RowSerializer[RetentionClass]):
    class Meta:
        model = RetentionClass
        fields = ("id account_id name content_days raw_days events_days audit_days is_default created_at").split()
