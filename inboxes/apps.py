from django.apps import AppConfig


class InboxesConfig(AppConfig):
    name = "inboxes"

    def ready(self) -> None:
        """Configuration rows go into the trail by themselves; counters and secrets are left out by naming what goes in."""
        from auditlog.registry import auditlog  # needs the applications to be loaded

        from inboxes.models import Account, AddressRule, ApiKey, Inbox, Membership, Provider

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
        ]
        auditlog.register(Account, include_fields=["name", "daily_send_limit", "storage_quota", "on_unknown"])
        auditlog.register(Membership, include_fields=["account", "user", "role"])
        auditlog.register(ApiKey, include_fields=["name", "mode", "inbox_ids", "permissions", "expires_at"])
        auditlog.register(Inbox, include_fields=configured)
        # Credentials, the token and its encrypted form never: delivery.provider_rows says which of them changed, by name.
        auditlog.register(Provider, include_fields=["account", "name", "esp", "is_default", "fallback", "concurrency"])
        auditlog.register(AddressRule, include_fields=["mode", "inbox", "direction", "effect", "pattern", "note"])
