"""The audit trail's one table, and the tree that seals it.

The trail is django-auditlog's LogEntry with columns of our own, so that registered configuration rows (`auditlog.register`) and acts on
mail (`audit.record.record`) land side by side. An entry keeps plain ids and no cascading key: it outlives what it speaks of.
"""

from contextlib import nullcontext
from typing import Any, ClassVar, NoReturn

from auditlog.models import AbstractLogEntry, LogEntryManager
from django.db import models
from django.utils import timezone

from audit.actors import current
from audit.export_models import Export as Export
from audit.export_models import ExportPart as ExportPart
from audit.verification_models import Verification as Verification
from mailbot.lib.ids import ID_LENGTH, TypeIDField, id_at
from mailbot.lib.scope import acting_for_everybody
from mailbot.lib.tenants import TenantManager


class AppendOnlyError(RuntimeError):
    """Entries of the trail are written once: no code path may change or remove one."""


# Where the vocabulary of the trail says it otherwise than <model>.<verb>.
ACT_NAMES = {
    ("apikey", "created"): "key.issued",
    ("apikey", "updated"): "key.updated",
    ("apikey", "deleted"): "key.deleted",
    ("addressrule", "created"): "list.entry_added",
    ("addressrule", "deleted"): "list.entry_removed",
    ("retentionclass", "created"): "retention.class_created",
    ("retentionclass", "updated"): "retention.class_changed",
    ("retentionclass", "deleted"): "retention.class_deleted",
}


def name_of_save(object_type: str, verb: str) -> str:
    """What the trail calls it that a registered row was `created`, `updated` or `deleted`."""
    return ACT_NAMES.get((object_type, verb), f"{object_type}.{verb}")


# What changes who may read and write the mail of an account.
ACCESS_ACTS = [
    *("key.issued", "key.updated", "key.revoked", "key.deleted"),
    *("membership.created", "membership.updated", "membership.deleted", "member.role_changed", "member.removed"),
]


def of_now() -> dict[str, Any]:
    """Time and id of an entry that is made now, of one look at the clock: the id says in which month PostgreSQL keeps it (audit.months)."""
    now = timezone.now()
    return {"timestamp": now, "public_id": id_at("audit", now)}


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("Audit entries cannot be changed.")

    def delete(self) -> NoReturn:
        raise AppendOnlyError("Audit entries cannot be removed.")


class AuditEntryManager(TenantManager["AuditEntry"], LogEntryManager.from_queryset(AuditEntryQuerySet)):  # type: ignore[misc]
    def log_create(self, instance: models.Model, force_log: bool = False, **columns: Any) -> "AuditEntry | None":
        """Called by django-auditlog for each registered row that changes; fills the columns that are ours."""
        verb = {0: "created", 1: "updated", 2: "deleted"}.get(columns.get("action", -1), "accessed")
        object_type = instance._meta.model_name or ""
        context = current()
        columns |= {
            **of_now(),
            "act": name_of_save(object_type, verb),
            "object_type": object_type,
            "account_id": getattr(instance, "account_id", None) or (instance.pk if object_type == "account" else ""),
            "inbox_id": _inbox_of(instance),
            "mode": getattr(instance, "mode", "") or context.actor.mode,
            "actor_kind": context.actor.kind,
            "actor_id": context.actor.id,
            "actor_name": context.actor.name,
            "cid": context.request_id,
            "remote_addr": context.remote_addr,
        }
        with (
            nullcontext()
            if columns["account_id"]
            else acting_for_everybody("what is done to a user belongs to no account")
        ):
            return super().log_create(instance, force_log=force_log, **columns)  # type: ignore[no-any-return]


def _inbox_of(instance: models.Model) -> str:
    """The inbox that an entry about this row belongs to; a row that says `sole_inbox_id` may concern one without being of it."""
    if instance._meta.model_name == "inbox":
        return str(instance.pk)
    return getattr(instance, "inbox_id", None) or getattr(instance, "sole_inbox_id", None) or ""


class AuditEntry(AbstractLogEntry):  # type: ignore[misc]
    """Who did what to which object, when, from where, under which request. Look for entries by time or by key as audit.lookups does."""

    public_id = TypeIDField("audit", primary_key=False, unique=True)
    act = models.CharField("action", max_length=60)
    object_type = models.CharField(max_length=40)
    account_id = models.CharField(max_length=ID_LENGTH, blank=True, default="")
    inbox_id = models.CharField(max_length=ID_LENGTH, blank=True, default="")
    # Test or live; empty for what is of the account as a whole. What has an inbox is of that inbox's mode, whatever stands here.
    mode = models.CharField(max_length=4, blank=True, default="")
    actor_kind = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=150, blank=True, default="")
    actor_name = models.CharField(max_length=200, blank=True, default="")
    # auditlog's own actor is a key to User, which a key or a worker is not, and which would change when the user goes.
    actor = None
    # An entry must not change because a content type goes: no constraint in the database, no cascade.
    content_type = models.ForeignKey(
        "contenttypes.ContentType",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        null=True,
        related_name="+",
    )
    # auditlog's, without their indexes: nobody looks for entries by them, and every entry pays.
    object_id = models.BigIntegerField(blank=True, null=True)
    action = models.PositiveSmallIntegerField("kind", choices=AbstractLogEntry.Action.choices)
    timestamp = models.DateTimeField(default=timezone.now)

    objects: ClassVar[AuditEntryManager] = AuditEntryManager()
    written_once: ClassVar[bool] = True

    class Meta(AbstractLogEntry.Meta):  # type: ignore[misc]
        abstract = False
        base_manager_name = "objects"
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        ordering = ["-id"]
        indexes = [
            # In the order in which the API shows the trail: a deep page, and one of long ago, costs what the first does.
            models.Index(fields=["account_id", "inbox_id", "-timestamp", "-public_id"], name="audit_by_inbox_and_time"),
            models.Index(fields=["account_id", "-timestamp", "-public_id"], name="audit_by_account_and_time"),
            # What was taken from the trail or replaced in it, which every verification asks (audit.records).
            models.Index(
                fields=["account_id"],
                name="audit_records",
                condition=models.Q(act__in=["trail.removed", "trail.replaced"]),
            ),
            # Who had access when (inboxes.access_history): few entries, which would have to be sought among all the others.
            models.Index(
                fields=["account_id", "-timestamp", "-public_id"],
                name="audit_access",
                condition=models.Q(act__in=ACCESS_ACTS),
            ),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk and not self._state.adding:
            raise AppendOnlyError("Audit entries cannot be changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("Audit entries cannot be removed.")


# --- The tree over the entries of an account (audit.sealing) -----------------------------------------------------------
# Who is limited to some inboxes sees none of it: places and sizes count what happens in the others. The tree of the account "" is the
# server's own: sign-ins, and what is done to no account.


class OfTheSealer(models.Model):
    """Rows that only workers and commands write: on PostgreSQL the role of requests has no right to (mailbot.lib.row_security)."""

    written_by_system: ClassVar[bool] = True

    class Meta:
        abstract = True


class WrittenOnce(OfTheSealer):
    """Rows that no role of the server may change or remove; in the database audit.append_only sees to it."""

    written_once: ClassVar[bool] = True

    class Meta:
        abstract = True


def tree_manager() -> TenantManager[Any]:
    return TenantManager(inbox=None, whole_account=True)


class AuditUnsealed(OfTheSealer):
    """The key of an entry that has no leaf yet: written by the database with the entry, taken away with the leaf. Of no account."""

    entry_id = models.BigIntegerField(primary_key=True)

    def __str__(self) -> str:
        return str(self.entry_id)


class AuditTree(OfTheSealer):
    """How far the tree of an account has grown, and how far each anchor knows of it. `frontier`: the hashes that it grows on."""

    account_id = models.CharField(max_length=ID_LENGTH, primary_key=True)
    size = models.BigIntegerField(default=0)
    in_file = models.BigIntegerField(default=0)
    in_webhook = models.BigIntegerField(default=0)
    in_mail = models.BigIntegerField(default=0)
    frontier = models.BinaryField(default=b"")

    objects: ClassVar[TenantManager["AuditTree"]] = tree_manager()

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"{self.account_id}: {self.size}"


class AuditLeaf(WrittenOnce):
    """An entry's place in the tree. `salt` opens the commitments to what can name a person; where such a value was replaced it is gone, and
    `kept` has the rest."""

    entry_id = models.BigIntegerField(primary_key=True)
    account_id = models.CharField(max_length=ID_LENGTH, blank=True)
    seq = models.BigIntegerField()
    hash = models.BinaryField()
    salt = models.BinaryField(null=True)
    kept = models.JSONField(null=True)

    objects: ClassVar[TenantManager["AuditLeaf"]] = tree_manager()

    class Meta:
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["account_id", "seq"], name="audit_leaf_place")]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.seq}"


class AuditNode(WrittenOnce):
    """The hash over 2^level leaves, `level` being a multiple of 8; those between are made out of at most 255 of these."""

    account_id = models.CharField(max_length=ID_LENGTH, blank=True)
    level = models.PositiveSmallIntegerField()
    index = models.BigIntegerField()
    hash = models.BinaryField()

    objects: ClassVar[TenantManager["AuditNode"]] = tree_manager()

    class Meta:
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["account_id", "level", "index"], name="audit_node_place")]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.level}/{self.index}"


class AuditHead(WrittenOnce):
    """A signed size and root of a tree."""

    account_id = models.CharField(max_length=ID_LENGTH, blank=True)
    size = models.BigIntegerField()
    time = models.DateTimeField()
    key_id = models.CharField(max_length=16)
    root = models.BinaryField()
    signature = models.BinaryField()

    objects: ClassVar[TenantManager["AuditHead"]] = tree_manager()

    class Meta:
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["account_id", "size", "key_id"], name="audit_head_place")]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.size}"


class AuditKey(WrittenOnce):
    """A public key (Ed25519) that heads are signed with; the newest is in use. `endorsed_by` signed it with the key before."""

    key_id = models.CharField(max_length=16, unique=True)
    public_key = models.BinaryField()
    made_at = models.DateTimeField()
    endorsed_by = models.CharField(max_length=16, blank=True, default="")
    endorsement = models.BinaryField(default=b"")

    def __str__(self) -> str:
        return self.key_id


class AuditAnchor(OfTheSealer):
    """How posting heads to a place outside goes: `file`, `webhook`, `mail`."""

    place = models.CharField(max_length=10, primary_key=True)
    posted_at = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    next_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.place
