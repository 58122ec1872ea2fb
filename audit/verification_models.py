"""What the last verification of an account's trail found. A part of audit.models, which is where it is imported from."""

from typing import ClassVar

from django.db import models

from mailbot.lib.ids import ID_LENGTH
from mailbot.lib.tenants import TenantManager


class Verification(models.Model):
    """One row an account, for pages that show a seal: the trail itself tells of each verification by an entry.

    `verified` of `size` entries were looked at; where they are fewer, the next one goes on there.
    """

    account_id = models.CharField(max_length=ID_LENGTH, primary_key=True)
    at = models.DateTimeField()
    by = models.CharField(max_length=200)
    verified = models.BigIntegerField()
    size = models.BigIntegerField(help_text="of the newest head when it was looked at")
    head_time = models.DateTimeField(null=True)
    head_key = models.CharField(max_length=16, blank=True, default="")
    head_root = models.CharField(max_length=64, blank=True, default="")
    removed = models.BigIntegerField(default=0, help_text="entries that were removed, as an entry says")
    replaced = models.BigIntegerField(default=0, help_text="entries with values that were replaced, as an entry says")
    findings = models.JSONField(default=list, help_text="{kind, what, seq, id}, the first bad entry first")

    objects: ClassVar[TenantManager["Verification"]] = TenantManager(inbox=None, whole_account=True)

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"{self.account_id}: {self.verified} of {self.size}"

    @property
    def holds(self) -> bool:
        return not self.findings

    @property
    def is_whole(self) -> bool:
        return self.verified >= self.size
