"""Who may have mail: accounts, the people and keys that act for them, and their inboxes."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from datetime import date, datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from inboxes.domain_models import Domain, DomainKey, DomainStatus
from inboxes.hold_models import LegalHold
from inboxes.retention_models import RetentionClass
from mailbot.lib.crypto import decrypted, encrypted
from mailbot.lib.ids import ID_LENGTH, TypeIDField
from mailbot.lib.json_columns import JSONColumn
from mailbot.lib.tenants import TenantManager


class Mode(models.TextChoices):
    """A test key and a live key see two separate worlds; what is made in the sandbox never reaches a provider."""

    TEST = "test"
    LIVE = "live"


class OnUnknown(models.TextChoices):
    """What an account wants for a mail of which nobody knows whether its provider took it."""

    AT_MOST_ONCE = "at_most_once", "at most once: it waits for an operator's decision"
    AT_LEAST_ONCE = "at_least_once", "at least once: it is sent again, with the same Message-ID"


class BounceScope(models.TextChoices):
    """Whose mail an address gets no more of once it bounced for good (delivery.suppression)."""

    INBOX = "inbox", "the inbox that it bounced at"
    ACCOUNT = "account", "all inboxes of the account"


class Account(models.Model):
    """A tenant. Every row that belongs to one carries its id."""

    id = TypeIDField("account")
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    daily_send_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Recipients a day (UTC) of all its inboxes of one mode. Empty: the server's own.",
    )
    storage_quota = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        help_text="Octets of messages and attachments in all its inboxes. Empty: the server's own.",
    )
    on_unknown = models.CharField(
        max_length=13,
        choices=OnUnknown.choices,
        default=OnUnknown.AT_MOST_ONCE,
        help_text="What becomes of a mail that a provider may have taken or not, where nobody can be asked.",
    )
    bounce_scope = models.CharField(
        "hard bounces stop",
        max_length=7,
        choices=BounceScope.choices,
        default=BounceScope.INBOX,
        db_default=BounceScope.INBOX,
        help_text="Whose mail an address gets no more of once it bounced for good.",
    )
    is_full = models.BooleanField(
        default=False, editable=False, help_text="Its storage quota is used up, as of the last sweep."
    )

    objects = TenantManager(account="pk", inbox=None)

    class Meta:
        base_manager_name = "objects"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def send_limit(self) -> int | None:
        """Recipients a day for each mode; None: no limit."""
        return self.daily_send_limit if self.daily_send_limit is not None else settings.ACCOUNT_DAILY_SEND_LIMIT or None

    @property
    def quota(self) -> int | None:
        """Octets; None: no limit."""
        return self.storage_quota if self.storage_quota is not None else settings.ACCOUNT_STORAGE_QUOTA or None


class Membership(models.Model):
    """A console user's place in an account."""

    class Role(models.TextChoices):
        OWNER = "owner"
        OPERATOR = "operator"
        REVIEWER = "reviewer"

    id = TypeIDField("member")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.OPERATOR)

    objects = TenantManager(inbox=None)

    class Meta:
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["account", "user"], name="one_membership_per_user")]

    def __str__(self) -> str:
        return f"{self.user} in {self.account}"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def in_status(self, status: str, now: datetime) -> Self:
        """Those whose `status` is this one."""
        over = Q(expires_at__lte=now)
        narrow = {
            ApiKey.Status.USABLE: Q(revoked_at=None) & ~over,
            ApiKey.Status.REVOKED: Q(revoked_at__isnull=False),
            ApiKey.Status.EXPIRED: Q(revoked_at=None) & over,
        }
        return self.filter(narrow[ApiKey.Status(status)])

    def limited_to(self, inbox_ids: Collection[str]) -> Self:
        """Keys that see no inbox but these. One that is not limited is none of them."""
        return self.filter(inbox_ids__is_within=list(inbox_ids))


class ApiKey(models.Model):
    """What an agent authenticates with. Only a prefix and the SHA-256 of the key are kept: it is shown once."""

    class Status(models.TextChoices):
        USABLE = "usable"
        REVOKED = "revoked"
        EXPIRED = "expired"

    id = TypeIDField("key")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(
        max_length=100, help_text="Which agent or workflow uses it; the audit trail shows this name."
    )
    mode = models.CharField(max_length=4, choices=Mode.choices, default=Mode.TEST)
    # A list and no table of its own: a request is authenticated by one query of one row.
    inbox_ids = JSONColumn(
        null=True,
        blank=True,
        help_text="Limits the key to these inboxes, by id. Null: all inboxes of the account in this mode. An empty list: none.",
    )
    permissions = JSONColumn(default=list, help_text="Rights as in inboxes.permissions.")
    prefix = models.CharField(max_length=20, editable=False, help_text="How the key begins, to recognise it by.")
    digest = models.CharField("SHA-256", max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TenantManager.from_queryset(ApiKeyQuerySet)(inbox=None)

    class Meta:
        base_manager_name = "objects"
        verbose_name = "API key"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def status(self, now: datetime) -> Status:
        if self.revoked_at is not None:
            return self.Status.REVOKED
        return self.Status.EXPIRED if self.expires_at is not None and self.expires_at <= now else self.Status.USABLE

    def is_usable(self, now: datetime) -> bool:
        return self.status(now) is self.Status.USABLE

    @property
    def sole_inbox_id(self) -> str | None:
        """The inbox of a key that is limited to exactly one. None says nothing about what it may see: ask `inbox_ids` for that."""
        return self.inbox_ids[0] if self.inbox_ids is not None and len(self.inbox_ids) == 1 else None


class Breaker(models.Model):
    """What a breaker remembers of whatever it may stop (delivery.outbound.breaker)."""

    record_from = models.DateTimeField(null=True, editable=False, help_text="it goes by what was sent since then")
    trips = models.PositiveSmallIntegerField(
        default=0, db_default=0, editable=False, help_text="one soon after the other"
    )
    trials_at = models.DateTimeField(null=True, editable=False, help_text="tripped: when a few sends are tried")
    trials_left = models.PositiveSmallIntegerField(
        null=True, editable=False, help_text="recipients that may still be tried; null: that time has not come"
    )

    class Meta:
        abstract = True


class Provider(models.Model):
    """Who carries mail on: one ESP or smart host with the credentials of one customer of it. What an ESP is like is in delivery.esps.

    A row without an account is shared by all; only superusers see it. Requests of a tenant see the rows of its account,
    unless they are limited to some inboxes of it.
    """

    id = TypeIDField("provider")
    account = models.ForeignKey(
        Account,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="providers",
        help_text="Empty: all accounts may send through it.",
    )
    name = models.CharField(max_length=100, help_text="As people know it: “Postmark, transactional”.")
    esp = models.CharField("ESP", max_length=20, help_text="A key of delivery.esps.")
    sealed = models.TextField(editable=False, help_text="its credentials, encrypted (mailbot.lib.crypto)")
    token = models.CharField(
        max_length=43, default=secrets.token_urlsafe, editable=False, help_text="in the addresses of its webhooks"
    )
    is_default = models.BooleanField(
        default=False, help_text="Mail goes through it where an inbox names none: of its account, or of all accounts."
    )
    fallback = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who carries mail that this one surely did not take, for now.",
    )
    concurrency = models.PositiveSmallIntegerField(
        default=8, help_text="How many mails may be on their way to it at one moment, from all workers."
    )
    is_paused = models.BooleanField(default=False, help_text="Its mail waits.")
    paused_reason = models.CharField(max_length=500, blank=True)
    waits_until = models.DateTimeField(
        null=True, editable=False, help_text="It asked us to wait (Retry-After): until then nothing is handed to it."
    )
    # To the minute. Of mail that comes whole with a call no event is kept, which could tell it.
    tracking_called_at = models.DateTimeField(
        null=True, editable=False, help_text="when its ESP last called with news of mail"
    )
    inbound_called_at = models.DateTimeField(null=True, editable=False, help_text="when it last called with mail")
    record_from = models.DateTimeField(
        null=True, editable=False, help_text="its breaker goes by what was sent since then"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = TenantManager(inbox=None, whole_account=True)

    class Meta:
        base_manager_name = "objects"
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account"], condition=Q(is_default=True), name="one_default_provider_per_account"
            ),
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True, account=None), name="one_default_provider_of_all"
            ),
            models.CheckConstraint(condition=Q(concurrency__gte=1), name="provider_carries_something"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def credentials(self) -> dict[str, str]:
        """By field, as its ESP names them. Raises CannotDecrypt."""
        read: dict[str, str] = json.loads(decrypted(self.sealed))
        return read

    @credentials.setter
    def credentials(self, values: dict[str, str]) -> None:
        self.sealed = encrypted(json.dumps(values))


class Inbox(Breaker):
    """One address with its own messages, threads, events and trail."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        PAUSED = "paused"
        TRIPPED = "tripped"
        DELETED = "deleted"

    id = TypeIDField("inbox")
    # Protected: its row remembers whose the address was, so that mail for it reaches nobody else for a while.
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="inboxes", db_index=False)
    mode = models.CharField(max_length=4, choices=Mode.choices)
    address = models.CharField(max_length=254, help_text="In canonical form; see mailbot.lib.addresses.")
    local_part = models.CharField(max_length=64)
    domain = models.CharField(max_length=254)
    display_name = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.ACTIVE)
    status_reason = models.CharField(max_length=500, blank=True)
    metadata = JSONColumn(default=dict, blank=True)
    client_id = models.CharField(max_length=200, null=True, blank=True)
    oversight = models.BooleanField(default=False)
    track_opens = models.BooleanField(default=False, help_text="Whether it is seen that its mail is opened.")
    track_clicks = models.BooleanField(
        default=False, help_text="Whether it is seen that links in its mail are followed."
    )
    # Shared providers are of no account, so this key cannot carry the account (inboxes.sending_through chooses among usable ones).
    provider = models.ForeignKey(
        Provider,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        help_text="Who carries its mail on. Empty: the default of its account, or of the server.",
    )
    # None: on the server's own. `domain` may be a subdomain of it.
    own_domain = models.ForeignKey(
        Domain, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="inboxes"
    )
    # Without an account the key could lead to another's class: on PostgreSQL it carries the account (migration 0018).
    retention_class = models.ForeignKey(
        RetentionClass,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="inboxes",
        help_text="How long it keeps what it has. Empty: as the account's default class says, or the server.",
    )
    retention_due_at = models.DateTimeField(
        default=timezone.now, db_default=Now(), editable=False, help_text="when the sweep of retention looks at it next"
    )
    list_unsubscribe = models.BooleanField(
        default=False, db_default=False, help_text="Its mail to one recipient offers to unsubscribe (RFC 8058)."
    )
    daily_send_limit = models.PositiveIntegerField(null=True, blank=True)
    sends_today = models.PositiveIntegerField(default=0, editable=False)
    sends_counted_on = models.DateField(null=True, blank=True, editable=False)
    # The last number that was given to a message; it never falls. What it holds is `messages_held`.
    message_count = models.PositiveIntegerField(default=0, editable=False)
    messages_removed = models.PositiveIntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="messages whose time was over, or that were erased one by one",
    )
    thread_count = models.PositiveIntegerField(default=0, editable=False)
    message_octets = models.PositiveBigIntegerField(default=0, editable=False)
    attachment_octets = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    purge_on_expiry = models.BooleanField(default=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    purged_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TenantManager(inbox="pk")

    class Meta:
        base_manager_name = "objects"
        verbose_name_plural = "inboxes"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["address"], condition=~Q(status="deleted"), name="one_living_inbox_per_address"
            ),
            models.UniqueConstraint(
                fields=["account", "mode", "client_id"], condition=~Q(status="deleted"), name="one_inbox_per_client_id"
            ),
        ]
        indexes = [
            models.Index(fields=["account", "mode", "-id"], name="inbox_list"),
            models.Index(fields=["address", "deleted_at"], name="inbox_address_history"),
            models.Index(
                fields=["expires_at", "id"],
                condition=Q(expires_at__isnull=False) & ~Q(status="deleted"),
                name="inbox_to_expire",
            ),
            models.Index(
                fields=["expires_at", "id"], condition=Q(purge_on_expiry=True, purged_at=None), name="inbox_to_purge"
            ),
            models.Index(fields=["trials_at"], condition=Q(status="tripped"), name="inbox_tripped"),
            models.Index(fields=["retention_due_at", "id"], name="inbox_retention_due"),
        ]

    def __str__(self) -> str:
        return self.address

    def has_ended(self, now: datetime) -> bool:
        """Whether it is deleted, or its time is over and only the sweep has not come by yet: it is the same to everybody."""
        return self.status == self.Status.DELETED or (self.expires_at is not None and self.expires_at <= now)

    @staticmethod
    def ended(now: datetime) -> Q:
        """The same as a condition."""
        return Q(status=Inbox.Status.DELETED) | Q(expires_at__lte=now)

    @property
    def messages_held(self) -> int:
        return self.message_count - self.messages_removed

    def sends_on(self, day: date) -> int:
        """How many recipients it sent to on that day (UTC); the counter starts anew each day."""
        return self.sends_today if self.sends_counted_on == day else 0


class AddressRule(models.Model):
    """One entry of a list: what an account, or one of its inboxes, says of an address or a domain; inboxes.rules weighs them.

    An entry is added and removed, never changed: so its id in an explanation always means the same.
    """

    class Direction(models.TextChoices):
        SEND = "send"
        RECEIVE = "receive"
        REPLY = "reply"

    class Effect(models.TextChoices):
        ALLOW = "allow"
        BLOCK = "block"

    id = TypeIDField("rule")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="address_rules", db_index=False)
    mode = models.CharField(max_length=4, choices=Mode.choices)
    inbox = models.ForeignKey(
        Inbox,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="address_rules",
        db_index=False,
        help_text="Empty: all inboxes of the account in this mode.",
    )
    direction = models.CharField(max_length=7, choices=Direction.choices)
    effect = models.CharField(max_length=5, choices=Effect.choices)
    pattern = models.CharField(
        max_length=254, help_text="An address or a domain in canonical form, or * for everybody."
    )
    note = models.CharField(max_length=500, blank=True)
    created_by = JSONColumn(default=dict, editable=False, help_text="{kind, id, name} of who added it")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = TenantManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = "list entry"
        verbose_name_plural = "list entries"
        ordering = ["-id"]
        # These are also what mail is looked up by: whether a list is there at all, and whether a pattern is on it.
        constraints = [
            models.UniqueConstraint(
                fields=["inbox", "direction", "effect", "pattern"],
                condition=Q(inbox__isnull=False),
                name="one_rule_per_inbox",
            ),
            models.UniqueConstraint(
                fields=["account", "mode", "direction", "effect", "pattern"],
                condition=Q(inbox__isnull=True),
                name="one_rule_per_account",
            ),
        ]
        # With more columns SQLite would take this one for what the constraints are for, and read an account's whole list for each mail.
        indexes = [models.Index(fields=["account", "-id"], name="rule_list")]

    def __str__(self) -> str:
        return f"{self.direction} {self.effect} {self.pattern}"


class DailyUsage(models.Model):
    """What one inbox took in and sent on one day (UTC). Counted with each message, and kept when the inbox is purged."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    inbox = models.ForeignKey(Inbox, on_delete=models.CASCADE, related_name="+", db_index=False)
    mode = models.CharField(max_length=4, choices=Mode.choices)
    day = models.DateField()
    received = models.PositiveBigIntegerField(default=0, help_text="messages")
    sent = models.PositiveBigIntegerField(default=0, help_text="messages that were accepted for sending")
    recipients = models.PositiveBigIntegerField(default=0, help_text="of the messages that were sent")
    octets = models.PositiveBigIntegerField(default=0, help_text="of all of these messages")

    objects = TenantManager()

    class Meta:
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["inbox", "day"], name="one_usage_per_inbox_and_day")]
        indexes = [models.Index(fields=["account", "mode", "day"], name="usage_by_account")]

    def __str__(self) -> str:
        return f"{self.inbox_id} on {self.day}"


class SendingRecord(models.Model):
    """What became of the mail of one inbox within some minutes, in recipients (inboxes.sending_record)."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    inbox = models.ForeignKey(Inbox, on_delete=models.CASCADE, related_name="+", db_index=False)
    # A plain id: the record outlives the provider.
    provider_id = models.CharField(
        max_length=ID_LENGTH, blank=True, help_text="who carried it; empty: the server's own backend"
    )
    starts_at = models.DateTimeField()
    sent = models.PositiveIntegerField(default=0, help_text="handed over")
    delivered = models.PositiveIntegerField(default=0)
    deferred = models.PositiveIntegerField(default=0, help_text="put off by a server of others")
    bounced = models.PositiveIntegerField(default=0, help_text="refused for good")
    complained = models.PositiveIntegerField(default=0)

    objects = TenantManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name_plural = "sending health"
        constraints = [
            models.UniqueConstraint(fields=["inbox", "starts_at", "provider_id"], name="one_record_per_inbox_and_time")
        ]
        indexes = [
            models.Index(fields=["starts_at"], name="record_by_time"),
            models.Index(fields=["provider_id", "starts_at"], condition=~Q(provider_id=""), name="record_by_provider"),
        ]

    def __str__(self) -> str:
        return f"{self.inbox_id} from {self.starts_at}"


class SendingDomain(Breaker):
    """How an account stands with one of the domains that it sends live mail from: its breaker, and how far it is warmed up."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        TRIPPED = "tripped"

    id = TypeIDField("senddom")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.CharField(max_length=254)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.ACTIVE)
    status_reason = models.CharField(max_length=500, blank=True)
    warms_up_from = models.DateField(null=True, help_text="its first day as a sender; empty: it needs no warm-up")

    objects = TenantManager(inbox=None)

    class Meta:
        base_manager_name = "objects"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["account", "domain"], name="one_standing_per_domain")]
        indexes = [models.Index(fields=["trials_at"], condition=Q(status="tripped"), name="sending_domain_tripped")]

    def __str__(self) -> str:
        return self.domain


class WarmUpDay(models.Model):
    """How many recipients have a place on one day (UTC) of a domain's warm-up."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(SendingDomain, on_delete=models.CASCADE, related_name="days", db_index=False)
    day = models.DateField()
    taken = models.PositiveIntegerField(default=0)

    objects = TenantManager(inbox=None)

    class Meta:
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["domain", "day"], name="one_warm_up_day")]

    def __str__(self) -> str:
        return str(self.day)


class KeptAnswer(models.Model):
    """The first answer to a POST with an Idempotency-Key, committed with what was done (inboxes.idempotency). Kept for a day."""

    id = TypeIDField("answer")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+", db_index=False)
    inbox = models.ForeignKey(
        Inbox, on_delete=models.CASCADE, null=True, related_name="+", help_text="in which it was done, if in one"
    )
    slot = models.UUIDField(unique=True, help_text="of account, mode, what the API key sees, and Idempotency-Key")
    asked = models.UUIDField(help_text="of path, query and body")
    status = models.PositiveSmallIntegerField()
    body = models.BinaryField(help_text="JSON, compressed (zlib)")
    expires_at = models.DateTimeField(db_index=True)

    objects = TenantManager()

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"{self.status} {self.slot}"


__all__ = [
    "Account",
    "AddressRule",
    "ApiKey",
    "DailyUsage",
    "Domain",
    "DomainKey",
    "DomainStatus",
    "Inbox",
    "KeptAnswer",
    "LegalHold",
    "Membership",
    "Mode",
    "OnUnknown",
    "Provider",
    "RetentionClass",
]
