from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("delivery", "0006_providers"),
        ("inboxes", "0008_providers"),
        ("threads", "0006_leases"),
    ]

    operations = [
        migrations.AddField(
            model_name="outboundmail",
            name="to_fetch",
            field=models.JSONField(
                help_text="while it is being prepared: headers and attachments, see delivery.outbound.fetching",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="outboundmail",
            name="state",
            field=models.CharField(
                choices=[
                    ("preparing", "preparing"),
                    ("queued", "queued"),
                    ("sending", "sending"),
                    ("sent", "sent"),
                    ("failed", "failed"),
                    ("blocked", "blocked"),
                    ("unknown", "unknown"),
                    ("cancelled", "cancelled"),
                ],
                default="queued",
                max_length=10,
            ),
        ),
        migrations.AddIndex(
            model_name="outboundmail",
            index=models.Index(
                condition=models.Q(("state", "preparing")), fields=["next_attempt_at"], name="outbound_to_prepare"
            ),
        ),
    ]
