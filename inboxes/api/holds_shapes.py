"""Shapes of /v1/holds."""

from rest_framework import serializers

from inboxes.api import holds_examples as examples
from inboxes.hold_models import LONGEST_MATTER, LONGEST_REASON
from inboxes.models import LegalHold
from mailbot.api.pagination import PageQuery
from mailbot.api.schema import shown_as
from mailbot.api.shapes import RowSerializer
from mailbot.api.views import StrictSerializer
from mailbot.lib.ids import ID_LENGTH


@shown_as(examples.HOLD_BODY)
class HoldBody(StrictSerializer):
    inbox_id = serializers.CharField(max_length=ID_LENGTH, required=False, allow_null=True, default=None)
    matter = serializers.CharField(max_length=LONGEST_MATTER)
    reason = serializers.CharField(max_length=LONGEST_REASON)


@shown_as(examples.RELEASE_BODY)
class HoldReleaseBody(StrictSerializer):
    reason = serializers.CharField(max_length=LONGEST_REASON)


class HoldQuery(PageQuery):
    inbox_id = serializers.CharField(max_length=ID_LENGTH, required=False)
    active = serializers.BooleanField(required=False, allow_null=True, default=None)


@shown_as(examples.HOLD)
class HoldSerializer(RowSerializer[LegalHold]):
    active = serializers.SerializerMethodField()

    class Meta:
        model = LegalHold
        fields = (
            "id account_id inbox_id matter reason active placed_at placed_by released_at released_by release_reason"
        ).split()

    def get_active(self, hold: LegalHold) -> bool:
        """Whether it is in force: until it is released."""
        return hold.is_in_force
