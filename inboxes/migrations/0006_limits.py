import django.db.models.deletion
from django.db import migrations, models


def tune_postgresql(apps, schema_editor):
    """Counters of a day change with each batch: with room left, the new version stays in the row's page. SQLite has no such choice."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE inboxes_dailyusage SET (fillfactor = 50)")


class Migration(migrations.Migration):
    dependencies = [
        ("inboxes", "0005_address_rules"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="daily_send_limit",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Recipients a day (UTC) of all its inboxes of one mode. Empty: the server's own.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="account",
            name="storage_quota",
            field=models.PositiveBigIntegerField(
                blank=True,
                help_text="Octets of messages and attachments in all its inboxes. Empty: the server's own.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="account",
            name="is_full",
            field=models.BooleanField(
                default=False, editable=False, help_text="Its storage quota is used up, as of the last sweep."
            ),
        ),
        migrations.AlterField(
            model_name="inbox",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="inboxes",
                to="inboxes.account",
            ),
        ),
        migrations.AddField(
            model_name="inbox",
            name="message_octets",
            field=models.PositiveBigIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="inbox",
            name="attachment_octets",
            field=models.PositiveBigIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="inbox",
            name="purge_on_expiry",
            field=models.BooleanField(default=False),
        ),
        migrations.RemoveIndex(
            model_name="inbox",
            name="inbox_expiry",
        ),
        migrations.AddIndex(
            model_name="inbox",
            index=models.Index(
                condition=models.Q(("expires_at__isnull", False), models.Q(("status", "deleted"), _negated=True)),
                fields=["expires_at", "id"],
                name="inbox_to_expire",
            ),
        ),
        migrations.AddIndex(
            model_name="inbox",
            index=models.Index(
                condition=models.Q(("purge_on_expiry", True), ("purged_at", None)),
                fields=["expires_at", "id"],
                name="inbox_to_purge",
            ),
        ),
        migrations.CreateModel(
            name="DailyUsage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("mode", models.CharField(choices=[("test", "Test"), ("live", "Live")], max_length=4)),
                ("day", models.DateField()),
                ("received", models.PositiveBigIntegerField(default=0, help_text="messages")),
                (
                    "sent",
                    models.PositiveBigIntegerField(default=0, help_text="messages that were accepted for sending"),
                ),
                (
                    "recipients",
                    models.PositiveBigIntegerField(default=0, help_text="of the messages that were sent"),
                ),
                ("octets", models.PositiveBigIntegerField(default=0, help_text="of all of these messages")),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="inboxes.account",
                    ),
                ),
                (
                    "inbox",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inboxes.inbox",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["account", "mode", "day"], name="usage_by_account")],
                "constraints": [models.UniqueConstraint(fields=("inbox", "day"), name="one_usage_per_inbox_and_day")],
            },
        ),
        migrations.RunPython(tune_postgresql, migrations.RunPython.noop),
    ]
