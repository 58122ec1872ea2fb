"""The erasure of a person, and the ids of what went with it: rows of delivery.models, in a file of their own.
What is done: delivery.erasing."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from inboxes.models import Account
from mailbot.lib.crypto import decrypted, encrypted
from mailbot.lib.ids import ID_LENGTH, TypeIDField
from mailbot.lib.json_columns import JSONColumn
from mailbot.lib.tenants import TenantManager


class Erasure(models.Model):
    """Who is limited to some inboxes sees none: a person may be in any of them."""

    class State(models.TextChoices):
        PLANNED = "planned"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        REFUSED = "refused"

    id = TypeIDField("erasure")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_index=False)
    person = models.CharField(max_length=40, help_text="the pseudonym")
    sealed = models.TextField(blank=True, editable=False, help_text="the address, encrypted; gone when it is finished")
    reason = models.CharField(max_length=500)
    state = models.CharField(max_length=8, choices=State.choices, default=State.PLANNED)
    done = models.BigIntegerField(default=0, help_text="of `total` messages and entries of the trail")
    total = models.BigIntegerField(default=0)
    counts = JSONColumn(default=dict, help_text="what went so far, by kind")
    certificate = JSONColumn(null=True)
    downloads = models.PositiveIntegerField(default=0, help_text="of the certificate")
    error = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # Who asked, with the name as it was then.
    actor_kind = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=150, blank=True, default="")
    actor_name = models.CharField(max_length=200, blank=True, default="")
    request_id = models.CharField(max_length=100, blank=True, default="")
    # Of the worker.
    step = models.CharField(max_length=20, blank=True, default="")
    place = models.CharField(max_length=100, blank=True, default="", help_text="in the step: where to go on")
    has_found = models.BooleanField(default=False, help_text="anything in this round")
    rounds = models.PositiveSmallIntegerField(default=0)
    files = JSONColumn(default=list, help_text="names in the object store, of attachments that are to be deleted next")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="in a row that came to nothing")
    lease = models.CharField(max_length=32, blank=True, default="")
    lease_until = models.DateTimeField(null=True)

    objects: ClassVar[TenantManager[Erasure]] = TenantManager(inbox=None, whole_account=True)

    class Meta:
        base_manager_name = "objects"
        verbose_name = "erasure"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "person"],
                condition=Q(state="planned") | Q(state="running"),
                name="one_erasure_at_a_time",
            )
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="erasure_list"),
            models.Index(fields=["id"], condition=Q(state="planned") | Q(state="running"), name="erasure_to_do"),
        ]

    def __str__(self) -> str:
        return self.person

    @property
    def address(self) -> str:
        """Raises CannotDecrypt."""
        return decrypted(self.sealed)

    @address.setter
    def address(self, value: str) -> None:
        self.sealed = encrypted(value)

    @property
    def progress(self) -> int:
        """Per cent."""
        if self.state == self.State.DONE:
            return 100
        return min(99, self.done * 100 // self.total) if self.total else 0


class ErasedObject(models.Model):
    """The id of a message, thread, mail or inbox that an erasure took something from: what the trail says of it is gone over, and who
    restores an older back-up can tell what has to go once more. Plain ids: they outlive what they name."""

    written_by_system: ClassVar[bool] = True

    account_id = models.CharField(max_length=ID_LENGTH)
    erasure_id = models.CharField(max_length=ID_LENGTH)
    object_id = models.CharField(max_length=ID_LENGTH)

    objects: ClassVar[TenantManager[ErasedObject]] = TenantManager(inbox=None, whole_account=True)

    class Meta:
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["erasure_id", "object_id"], name="one_erased_object")]

    def __str__(self) -> str:
        return self.object_id
