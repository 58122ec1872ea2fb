"""Legal holds. A part of inboxes.models, which is where they are imported from."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from mailbot.lib.ids import TypeIDField
from mailbot.lib.tenants import TenantManager

LONGEST_MATTER = 200
LONGEST_REASON = 1000


class LegalHold(models.Model):
    """While it is in force, nothing of its inbox, or of any inbox of its account, is deleted, purged, erased or ages away (inboxes.holds).

    A row is never removed: who held what, and until when, is itself evidence.
    """

    id = TypeIDField("hold")
    account = models.ForeignKey("inboxes.Account", on_delete=models.PROTECT, related_name="holds", db_index=False)
    inbox = models.ForeignKey(
        "inboxes.Inbox",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="holds",
        db_index=False,
        help_text="Empty: all inboxes of the account, those that are made later too.",
    )
    matter = models.CharField(max_length=LONGEST_MATTER, help_text="The name of the case.")
    reason = models.CharField(max_length=LONGEST_REASON)
    placed_at = models.DateTimeField(default=timezone.now, editable=False)
    placed_by = models.CharField(max_length=200, editable=False, help_text="as the actor was called then")
    released_at = models.DateTimeField(null=True, blank=True, editable=False)
    released_by = models.CharField(max_length=200, blank=True, editable=False)
    release_reason = models.CharField(max_length=LONGEST_REASON, blank=True, editable=False)

    objects = TenantManager()

    class Meta:
        base_manager_name = "objects"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["account", "-id"], name="hold_list"),
            # What each removal asks: few rows, since those that were released are not in it.
            models.Index(fields=["account", "inbox"], condition=Q(released_at=None), name="hold_in_force"),
        ]

    def __str__(self) -> str:
        return self.matter

    @property
    def is_in_force(self) -> bool:
        return self.released_at is None
