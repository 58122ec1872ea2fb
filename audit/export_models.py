"""An export of the trail: what was asked for, how far it is, and where its octets are."""

from typing import ClassVar

from django.db import models
from django.utils import timezone

from mailbot.lib.ids import ID_LENGTH, TypeIDField
from mailbot.lib.tenants import TenantManager


class Export(models.Model):
    """A bundle of evidence. What it is of stands here in plain ids: it may be of an inbox that is deleted.

    Whoever is limited to some inboxes sees none: the places of entries count what happens in the others.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        EXPIRED = "expired"

    id = TypeIDField("export")
    account_id = models.CharField(max_length=ID_LENGTH)
    inbox_id = models.CharField(max_length=ID_LENGTH, blank=True, default="", help_text="empty: the whole account")
    mode = models.CharField(max_length=4, blank=True, default="", help_text="test or live; empty: both")
    since = models.DateTimeField(null=True)
    until = models.DateTimeField(null=True)
    include = models.CharField(max_length=100, blank=True, default="", help_text="beside the trail: messages threads")
    reason = models.CharField(max_length=500)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    done = models.BigIntegerField(default=0, help_text="of `total` pieces of work")
    total = models.BigIntegerField(default=0)
    entries = models.BigIntegerField(null=True)
    size = models.BigIntegerField(null=True, help_text="octets of the zip")
    sha256 = models.CharField(max_length=64, blank=True, default="")
    error = models.CharField(max_length=500, blank=True, default="")
    downloads = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    # Who asked, with the name as it was then.
    actor_kind = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=150, blank=True, default="")
    actor_name = models.CharField(max_length=200, blank=True, default="")
    request_id = models.CharField(max_length=100, blank=True, default="")
    # Of the worker that makes it.
    head_id = models.BigIntegerField(null=True, help_text="the AuditHead that it is as of")
    trail = models.JSONField(null=True, help_text="the audit part of the manifest, once that is known")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="in a row that came to nothing")
    restarts = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="from its beginning, because the store lost a part"
    )
    lease = models.CharField(max_length=32, blank=True, default="")
    lease_until = models.DateTimeField(null=True)

    objects: ClassVar[TenantManager["Export"]] = TenantManager(inbox=None, whole_account=True)

    class Meta:
        base_manager_name = "objects"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["account_id", "-id"], name="export_list"),
            models.Index(
                fields=["id"], condition=models.Q(status="queued") | models.Q(status="running"), name="export_to_make"
            ),
            models.Index(fields=["expires_at"], condition=models.Q(status="done"), name="export_to_expire"),
        ]

    def __str__(self) -> str:
        return f"{self.inbox_id or self.account_id}, {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def included(self) -> list[str]:
        return self.include.split()

    @property
    def progress(self) -> int:
        """Per cent."""
        if self.status in (self.Status.DONE, self.Status.EXPIRED):
            return 100
        return min(99, self.done * 100 // self.total) if self.total else 0


class ExportPart(models.Model):
    """A piece of the zip in the object store, and the state of the work behind it: docs/audit/exports.md."""

    written_by_system: ClassVar[bool] = True

    export = models.ForeignKey(Export, on_delete=models.CASCADE, related_name="parts", db_index=False)
    account_id = models.CharField(max_length=ID_LENGTH)
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=100)
    size = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    state = models.JSONField()

    objects: ClassVar[TenantManager["ExportPart"]] = TenantManager(inbox=None, whole_account=True)

    class Meta:
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["export", "number"], name="export_part_number")]

    def __str__(self) -> str:
        return self.name
