import django.db.models.deletion
from django.db import migrations, models


def drop_like_index(apps, schema_editor):
    """As in 0002: nothing here asks for LIKE 'prefix%'."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = 'inboxes_keptanswer' AND indexname ~ '_like$'"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f'DROP INDEX "{name}"')


class Migration(migrations.Migration):
    dependencies = [
        ("inboxes", "0003_key_inboxes"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeptAnswer",
            fields=[
                ("id", models.CharField(editable=False, max_length=40, primary_key=True)),
                (
                    "slot",
                    models.UUIDField(
                        help_text="of account, mode, what the API key sees, and Idempotency-Key", unique=True
                    ),
                ),
                ("asked", models.UUIDField(help_text="of path, query and body")),
                ("status", models.PositiveSmallIntegerField()),
                ("body", models.BinaryField(help_text="JSON, compressed (zlib)")),
                ("expires_at", models.DateTimeField(db_index=True)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inboxes.account",
                    ),
                ),
                (
                    "inbox",
                    models.ForeignKey(
                        help_text="in which it was done, if in one",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inboxes.inbox",
                    ),
                ),
            ],
        ),
        migrations.RunPython(drop_like_index, migrations.RunPython.noop),
    ]
