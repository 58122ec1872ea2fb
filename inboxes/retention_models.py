"""Retention classes. A part of inboxes.models, which is where they are imported from."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from mailbot.lib.ids import TypeIDField
from mailbot.lib.tenants import TenantManager

LEAST_DAYS = 1
LEAST_AUDIT_DAYS = 30  # a trail that is gone before anybody asks is none
MOST_DAYS = 36_500


class RetentionClass(models.Model):
    """How long an inbox keeps what it has: content, raw mail, events and trail apart. Null: for ever (inboxes.retention_classes)."""

    id = TypeIDField("retention")
    account = models.ForeignKey(
        "inboxes.Account", on_delete=models.CASCADE, related_name="retention_classes", db_index=False
    )
    name = models.CharField(max_length=100)
    content_days = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(LEAST_DAYS)], help_text="Messages and attachments."
    )
    raw_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(LEAST_DAYS)],
        help_text="Raw mail. It goes with its message at the latest.",
    )
    events_days = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(LEAST_DAYS)])
    audit_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(LEAST_AUDIT_DAYS)],
        help_text=f"The audit trail: {LEAST_AUDIT_DAYS} days at least.",
    )
    is_default = models.BooleanField(default=False, help_text="For the inboxes of the account that name no class.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = TenantManager(inbox=None, whole_account=True)

    class Meta:
        base_manager_name = "objects"
        verbose_name_plural = "retention classes"
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "name"], name="one_retention_class_per_name"),
            models.UniqueConstraint(
                fields=["account"], condition=Q(is_default=True), name="one_default_retention_per_account"
            ),
            models.CheckConstraint(
                condition=Q(audit_days=None) | Q(audit_days__gte=LEAST_AUDIT_DAYS), name="retention_keeps_the_trail"
            ),
        ]

    def __str__(self) -> str:
        return self.name
