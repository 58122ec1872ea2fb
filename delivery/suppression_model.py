"""The addresses that get no more mail: rows of delivery.models, in a file of their own. What is done with them: delivery.suppression."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from inboxes.models import Account, Inbox, Mode
from mailbot.lib.addresses import comparable
from mailbot.lib.ids import ID_LENGTH, TypeIDField
from mailbot.lib.json_columns import JSONColumn
from mailbot.lib.tenants import TenantManager


class Scope(models.TextChoices):
    """Whose mail an entry stops, always of one mode."""

    INBOX = "inbox", "one inbox"
    DOMAIN = "domain", "the inboxes of the account at one domain"
    ACCOUNT = "account", "all inboxes of the account"


class Cause(models.TextChoices):
    HARD_BOUNCE = "hard_bounce", "hard bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"
    IMPORT = "import"


def digest_of(account_id: str, mode: str, address: str, inbox_id: str = "", domain: str = "") -> str:
    """What an entry is found by, of all spellings of an address: 256 bits of BLAKE2b over whose mail it stops and the address.

    So the address itself may be erased and still gets no mail. It hides the address from a reader of the table and from who compares
    tables of two tenants; not from who has the database and a list of addresses to try.
    """
    whose = ("inbox", inbox_id) if inbox_id else ("domain", domain) if domain else ("account", "")
    parts = (account_id, mode, *whose, comparable(address))
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()


def person_key(encryption_key: str) -> bytes:
    """What hashes of persons are keyed with, out of one of MAILBOT_ENCRYPTION_KEYS."""
    return hashlib.sha256(b"mailbot person\n" + encryption_key.encode()).digest()


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"id\n" + key).hexdigest()[:8]


def erased_digest(digest: str, encryption_key: str) -> str:
    """What an entry is found by once the person was erased: a keyed hash of `digest_of`, with eight characters before it that say by which
    key. Who has the database and no key cannot try out addresses."""
    key = person_key(encryption_key)
    return _key_id(key) + hmac.digest(key, digest.encode(), "sha256").hex()[:56]


def erased_digests(digest: str) -> list[str]:
    """By each of the keys that are set: the entry of an erased person is found as long as its key is one of them."""
    return [erased_digest(digest, key) for key in settings.ENCRYPTION_KEYS]


def is_of_known_key(digest: str) -> bool:
    return digest[:8] in {_key_id(person_key(key)) for key in settings.ENCRYPTION_KEYS}


def is_of_newest_key(digest: str) -> bool:
    return digest[:8] == _key_id(person_key(settings.ENCRYPTION_KEYS[0]))


class SuppressionQuerySet(models.QuerySet["Suppression"]):
    def in_force(self, now: datetime | None = None) -> SuppressionQuerySet:
        """Without those whose time is over: they stop nothing, whenever the sweep comes by."""
        return self.exclude(Suppression.over(now or timezone.now()))

    def in_scope(self, scope: str) -> SuppressionQuerySet:
        narrow = {
            Scope.INBOX: Q(inbox__isnull=False),
            Scope.DOMAIN: Q(inbox__isnull=True) & ~Q(domain=""),
            Scope.ACCOUNT: Q(inbox__isnull=True, domain=""),
        }
        return self.filter(narrow[Scope(scope)])


class Suppression(models.Model):
    """One address that an inbox, the inboxes at a domain, or all of an account send nothing to any more, and why."""

    id = TypeIDField("supp")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_index=False)
    mode = models.CharField(max_length=4, choices=Mode.choices)
    inbox = models.ForeignKey(
        Inbox,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        help_text="Empty: all inboxes of the account in this mode, or those at a domain.",
    )
    domain = models.CharField(max_length=254, blank=True, help_text="Of the sending inboxes, where it is for one.")
    address = models.CharField(
        max_length=320, blank=True, help_text="In comparable form; empty once the person was erased."
    )
    person = models.CharField(
        max_length=40,
        blank=True,
        default="",
        db_default="",
        help_text="The pseudonym of whoever was erased (docs/erasure.md).",
    )
    digest = models.CharField(
        max_length=64, help_text="of whose mail it stops and of the address; keyed once the person was erased"
    )
    cause = models.CharField(max_length=11, choices=Cause.choices)
    reason = models.CharField(max_length=500, blank=True)
    status_code = models.CharField(max_length=20, blank=True, help_text="of the bounce: 5.1.1 (RFC 3463)")
    # No key: the message may be purged, and the address stays suppressed.
    message_id = models.CharField(max_length=ID_LENGTH, blank=True, help_text="the message that it came from")
    created_by = JSONColumn(default=dict, editable=False, help_text="{kind, id, name} of who added it")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = TenantManager.from_queryset(SuppressionQuerySet)()

    class Meta:
        base_manager_name = "objects"
        verbose_name = "suppression"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["digest"], name="one_suppression_per_address")]
        indexes = [
            models.Index(fields=["account", "mode", "-id"], name="suppression_list"),
            models.Index(fields=["account", "address"], name="suppression_address"),
            models.Index(fields=["inbox", "-id"], condition=Q(inbox__isnull=False), name="suppression_of_inbox"),
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="suppression_expiry"),
        ]

    def __str__(self) -> str:
        return self.address or self.person or self.pk

    @staticmethod
    def over(now: datetime) -> Q:
        return Q(expires_at__isnull=False, expires_at__lte=now)

    @property
    def scope(self) -> Scope:
        if self.inbox_id:
            return Scope.INBOX
        return Scope.DOMAIN if self.domain else Scope.ACCOUNT

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now
