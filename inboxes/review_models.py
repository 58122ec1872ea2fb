"""Reviews of content. A part of inboxes.models, which is where they are imported from."""

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from mailbot.lib.ids import ID_LENGTH, TypeIDField
from mailbot.lib.tenants import TenantManager


class ContentReview(models.Model):
    """A reviewer may read what the mail of one inbox says, for a while and for a reason. Plain ids: the row outlives what it speaks of.

    It ends with `until`, sooner by `ended_at`, and with the membership under which it began (inboxes.reviews).
    """

    id = TypeIDField("review")
    account_id = models.CharField(max_length=ID_LENGTH)
    inbox_id = models.CharField(max_length=ID_LENGTH)
    reviewer_id = models.CharField(max_length=150, help_text="the user, as the trail names him")
    reviewer = models.CharField(max_length=200, help_text="his name as it was then")
    membership_id = models.CharField(max_length=ID_LENGTH)
    reason = models.CharField(max_length=500)
    entry_id = models.CharField(max_length=ID_LENGTH, help_text="of the trail: that it began")
    started_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=200, blank=True, default="")
    end_reason = models.CharField(max_length=200, blank=True, default="")

    objects: ClassVar[TenantManager["ContentReview"]] = TenantManager()

    class Meta:
        base_manager_name = "objects"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["account_id", "inbox_id", "-id"], name="review_of_inbox"),
            models.Index(fields=["reviewer_id"], condition=Q(ended_at=None), name="review_open"),
        ]

    def __str__(self) -> str:
        return f"{self.reviewer}, {self.started_at:%Y-%m-%d %H:%M}"

    def is_open(self, now: datetime) -> bool:
        return self.ended_at is None and self.started_at <= now < self.until
