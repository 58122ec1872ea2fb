import django.db.models.deletion
from django.db import migrations, models


def drop_like_index(apps, schema_editor):
    """As in 0002: nothing here asks for LIKE 'prefix%'."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = 'delivery_recentsend' AND indexname ~ '_like$'"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f'DROP INDEX "{name}"')


class Migration(migrations.Migration):
    dependencies = [
        ("delivery", "0003_raw_objects"),
        ("inboxes", "0004_idempotency"),
        ("threads", "0002_fewer_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="RecentSend",
            fields=[
                (
                    "message",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="threads.message",
                    ),
                ),
                ("asked", models.UUIDField(help_text="of API key, path and body")),
                (
                    "answer",
                    models.CharField(
                        choices=[("pending", "Pending"), ("delivered", "Delivered"), ("lost", "Lost")],
                        default="pending",
                        max_length=9,
                    ),
                ),
                ("created_at", models.DateTimeField(help_text="by the clock of the database")),
                ("answered_at", models.DateTimeField(help_text="when it was last answered, by the same clock")),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inboxes.account",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["asked"], name="recent_send_asked")],
            },
        ),
        migrations.RunPython(drop_like_index, migrations.RunPython.noop),
    ]
