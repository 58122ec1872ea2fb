from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"

    def ready(self) -> None:
        """Users of the console are nobody's app, so their changes are registered here."""
        from auditlog.registry import auditlog  # needs the applications to be loaded
        from django.contrib.auth import get_user_model

        from audit import receivers  # noqa: F401  (importing connects them)

        told = ["username", "email", "is_active", "is_staff", "is_superuser", "password"]
        auditlog.register(get_user_model(), include_fields=told, mask_fields=["password"])
