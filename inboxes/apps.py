from django.apps import AppConfig


class InboxesConfig(AppConfig):
    name = "inboxes"

    def ready(self) -> None:
        """Configuration rows go into the trail by themselves; counters and secrets are left out by naming what goes in."""
        from auditlog.registry import auditlog  # needs the applications to be loaded

        from audit.export_sources import register_inbox_ids
        from inboxes.models import Account, AddressRule, ApiKey, Domain, Inbox, Membership, Provider, RetentionClass

        configured = [
            "address",
            "mode",
            "display_name",
            "metadata",
            "client_id",
            "oversight",
            "track_opens",
            "track_clicks",
            "daily_send_limit",
            "expires_at",
            "purge_on_expiry",
            "provider",
            "list_unsubscribe",
            "retention_class",
        ]
        of_account = ["name", "daily_send_limit", "storage_quota", "on_unknown", "bounce_scope"]
        auditlog.register(Account, include_fields=of_account)
        auditlog.register(Membership, include_fields=["account", "user", "role"])
        auditlog.register(ApiKey, include_fields=["name", "mode", "inbox_ids", "permissions", "expires_at"])
        auditlog.register(Inbox, include_fields=configured)
        # Credentials, the token and its encrypted form never: delivery.provider_rows says which of them changed, by name.
        auditlog.register(Provider, include_fields=["account", "name", "esp", "is_default", "fallback", "concurrency"])
        # What DNS says of it and its keys change by themselves: inboxes.domain_checks says what came of that.
        auditlog.register(Domain, include_fields=["domain", "provider", "inbox_subdomains"])
        auditlog.register(AddressRule, include_fields=["mode", "inbox", "direction", "effect", "pattern", "note"])
        periods = ["content_days", "raw_days", "events_days", "audit_days"]
        auditlog.register(RetentionClass, include_fields=["name", *periods, "is_default"])
        register_inbox_ids(lambda account_id, mode: Inbox.objects.filter(account_id=account_id, mode=mode).values("pk"))
