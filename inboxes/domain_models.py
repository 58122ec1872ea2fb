"""Domains of accounts, and their DKIM keys. A part of inboxes.models, which is where they are imported from."""

import secrets

from django.db import models
from django.db.models import Q
from django.utils import timezone

from mailbot.lib.ids import TypeIDField
from mailbot.lib.json_columns import JSONColumn
from mailbot.lib.tenants import TenantManager


class DomainStatus(models.TextChoices):
    """How a domain stands. Whoever has proven that it is his keeps it in all but the first."""

    PENDING = "pending"  # not proven yet: no inbox can be made on it
    VERIFIED = "verified"
    DEGRADED = "degraded"  # a record that was there is missing or wrong; everything goes on
    FAILING = "failing"  # the proof itself has been gone for days: what is there goes on, new inboxes cannot be made


class Domain(models.Model):
    """A domain of an account, for inboxes of either mode. It is the account's once a TXT record has proven it (inboxes.domain_checks)."""

    id = TypeIDField("dom")
    account = models.ForeignKey("inboxes.Account", on_delete=models.CASCADE, related_name="domains", db_index=False)
    domain = models.CharField(max_length=254, help_text="In canonical form; see mailbot.lib.addresses.")
    status = models.CharField(max_length=8, choices=DomainStatus.choices, default=DomainStatus.PENDING)
    token = models.CharField(
        max_length=43, default=secrets.token_urlsafe, editable=False, help_text="what its owner publishes; no secret"
    )
    provider = models.ForeignKey(
        "inboxes.Provider",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        help_text="Who carries the mail of its inboxes on. Empty: the default of its account, or of the server.",
    )
    inbox_subdomains = models.BooleanField(
        default=False, help_text="New inboxes get a subdomain of their own: support@support.example.com."
    )
    # By name, type and purpose of a record: what the last answer of DNS was (inboxes.domain_checks).
    found = JSONColumn(default=dict, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    verified_at = models.DateTimeField(null=True, editable=False)
    proof_lost_at = models.DateTimeField(
        null=True, editable=False, help_text="since when the ownership record is missing"
    )
    checked_at = models.DateTimeField(null=True, editable=False, help_text="when DNS was last asked about it")

    objects = TenantManager(inbox=None, whole_account=True)

    class Meta:
        base_manager_name = "objects"
        ordering = ["domain", "id"]
        constraints = [
            models.UniqueConstraint(fields=["account", "domain"], name="one_domain_per_account"),
            models.UniqueConstraint(fields=["domain"], condition=~Q(status="pending"), name="one_owner_per_domain"),
        ]
        indexes = [models.Index(fields=["checked_at", "id"], name="domain_to_check")]

    def __str__(self) -> str:
        return self.domain

    @property
    def is_proven(self) -> bool:
        return self.status != DomainStatus.PENDING


class DomainKey(models.Model):
    """A DKIM key of a domain (RFC 6376). It signs from the moment in which its record is seen in DNS, and one at a time does."""

    class State(models.TextChoices):
        NEXT = "next"  # to be published
        ACTIVE = "active"  # signs
        RETIRED = "retired"  # signs no more; its record stays for the mail that is on its way

    id = TypeIDField("dkim")
    account = models.ForeignKey("inboxes.Account", on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="keys")
    selector = models.CharField(max_length=20)
    state = models.CharField(max_length=7, choices=State.choices, default=State.NEXT)
    public = models.TextField(help_text="base64 of the DER, as it stands in DNS")
    sealed = models.TextField(editable=False, help_text="the private key in PEM, encrypted (mailbot.lib.crypto)")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    retired_at = models.DateTimeField(null=True, editable=False)

    objects = TenantManager(inbox=None, whole_account=True)

    class Meta:
        base_manager_name = "objects"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["domain", "selector"], name="one_key_per_selector"),
            models.UniqueConstraint(fields=["domain"], condition=Q(state="active"), name="one_active_key_per_domain"),
            models.UniqueConstraint(fields=["domain"], condition=Q(state="next"), name="one_next_key_per_domain"),
        ]

    def __str__(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"
