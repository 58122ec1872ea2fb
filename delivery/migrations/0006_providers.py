import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("delivery", "0005_account_keys"),
        ("inboxes", "0008_providers"),
        ("threads", "0006_leases"),
    ]

    operations = [
        migrations.AddField(
            model_name="outboundmail",
            name="carrier",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="who was chosen for it; empty: the server's own backend, or the sandbox",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="inboxes.provider",
            ),
        ),
        migrations.AddField(
            model_name="outboundmail",
            name="final_message_id",
            field=models.TextField(
                blank=True, help_text="the Message-ID that recipients see, where the provider replaces ours"
            ),
        ),
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
            name="provider",
            field=models.CharField(blank=True, help_text="the name of who had it last, as it was then", max_length=100),
        ),
        migrations.AlterField(
            model_name="outboundmail",
            name="provider_message_id",
            field=models.TextField(blank=True, help_text="the provider's id, which its webhooks name"),
        ),
        migrations.AlterField(
            model_name="outboundmail",
            name="raw",
            field=models.BinaryField(default=bytes),
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
                condition=models.Q(("state", "queued")),
                fields=["inbox", "next_attempt_at", "id"],
                name="outbound_queue",
            ),
        ),
        migrations.AddIndex(
            model_name="outboundmail",
            index=models.Index(
                condition=models.Q(("state", "sending")), fields=["carrier"], name="outbound_on_the_wire"
            ),
        ),
        migrations.AddIndex(
            model_name="outboundmail",
            index=models.Index(
                condition=models.Q(("state", "preparing")), fields=["next_attempt_at"], name="outbound_to_prepare"
            ),
        ),
        migrations.AddIndex(
            model_name="outboundmail",
            index=models.Index(
                condition=models.Q(("provider_message_id", ""), _negated=True),
                fields=["provider_message_id"],
                name="outbound_by_provider_id",
            ),
        ),
    ]
