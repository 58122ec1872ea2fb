from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"

    def ready(self) -> None:
        """Users of the console are nobody's app, so their changes are registered here."""
        from auditlog.registry import auditlog  # needs the applications to be loaded
        from django.contrib.auth import get_user_model
        from django.db.backends.signals import connection_created
        from django.db.models.signals import post_migrate

        from audit import (
            append_only,
            receivers,
        )

        connection_created.connect(append_only.add_function, dispatch_uid="audit.add_function")
        post_migrate.connect(receivers.put_up_append_only, sender=self, dispatch_uid="audit.put_up_append_only")
        told = ["username", "email", "is_active", "is_staff", "is_superuser", "password"]
        auditlog.register(get_user_model(), include_fields=told, mask_fields=["password"])
