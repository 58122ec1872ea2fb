from django.db import migrations, models


def refuse_to_lose_mail(apps, schema_editor):
    """What was moved is not in the rows any more, and without the cards nobody finds it in the store."""
    if apps.get_model("delivery", "RawObject").objects.exists():
        raise RuntimeError("Raw mail was moved into the object store: this migration cannot be undone.")


def drop_like_index(apps, schema_editor):
    """As 0002 does: nothing asks for LIKE on the key alone."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()"
            " AND tablename = 'delivery_rawobject' AND indexname ~ '_like$'"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f'DROP INDEX "{name}"')


class Migration(migrations.Migration):
    dependencies = [
        ("delivery", "0002_queue_index"),
        ("inboxes", "0001_initial"),
        ("threads", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="RawObject",
            fields=[
                (
                    "mail_id",
                    models.CharField(
                        help_text="its InboundMail or OutboundMail", max_length=40, primary_key=True, serialize=False
                    ),
                ),
                (
                    "account_id",
                    models.CharField(blank=True, help_text="of the first inbox that it was for", max_length=40),
                ),
                ("inbox_id", models.CharField(blank=True, max_length=40)),
                (
                    "other_inboxes",
                    models.JSONField(default=list, help_text="inbound: ids of the others that it was for"),
                ),
                ("name", models.CharField(help_text="in the object store", max_length=200)),
                ("size", models.PositiveIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("moving", "on its way in: the row still has the bytes"),
                            ("kept", "the bytes are in the store and nowhere else"),
                            ("leaving", "nobody may read it any more; the object is to be deleted"),
                        ],
                        default="moving",
                        max_length=7,
                    ),
                ),
                ("lease_token", models.CharField(blank=True, max_length=32)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("error", models.TextField(blank=True)),
                ("mail_at", models.DateTimeField(help_text="when the mail was received or written")),
                ("moved_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ["mail_id"],
            },
        ),
        migrations.CreateModel(
            name="StorageFigures",
            fields=[
                ("account_id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("messages", models.PositiveBigIntegerField(default=0)),
                ("raw_in_rows", models.PositiveBigIntegerField(default=0)),
                ("raw_in_rows_octets", models.PositiveBigIntegerField(default=0)),
                ("raw_in_store", models.PositiveBigIntegerField(default=0)),
                ("raw_in_store_octets", models.PositiveBigIntegerField(default=0)),
                ("attachments", models.PositiveBigIntegerField(default=0)),
                (
                    "attachments_octets",
                    models.PositiveBigIntegerField(default=0, help_text="as messages refer to them"),
                ),
                ("files", models.PositiveBigIntegerField(default=0)),
                ("files_octets", models.PositiveBigIntegerField(default=0, help_text="as the store has them")),
                ("database_octets", models.PositiveBigIntegerField(default=0, help_text="of the server")),
                (
                    "oldest_in_rows",
                    models.DateTimeField(
                        help_text="of the server: when the oldest one to be moved was finished", null=True
                    ),
                ),
                ("counted_at", models.DateTimeField()),
                ("seconds", models.FloatField(default=0, help_text="how long the counting took")),
            ],
            options={
                "verbose_name": "storage",
                "verbose_name_plural": "storage",
            },
        ),
        migrations.AddField(
            model_name="inboundmail",
            name="raw_in_row",
            field=models.BooleanField(default=True, help_text="not yet moved to the object store; see RawObject"),
        ),
        migrations.AddField(
            model_name="outboundmail",
            name="raw_in_row",
            field=models.BooleanField(default=True, help_text="not yet moved to the object store; see RawObject"),
        ),
        # On SQLite this makes the table anew with `raw` as its last column, which is what the default is here for.
        migrations.AlterField(
            model_name="inboundmail",
            name="raw",
            field=models.BinaryField(default=b""),
        ),
        migrations.AlterField(
            model_name="outboundmail",
            name="raw",
            field=models.BinaryField(default=b""),
        ),
        migrations.AddIndex(
            model_name="inboundmail",
            index=models.Index(
                condition=models.Q(("processed_at__isnull", False), ("raw_in_row", True)),
                fields=["processed_at"],
                name="inbound_raw_to_move",
            ),
        ),
        migrations.AddIndex(
            model_name="outboundmail",
            index=models.Index(
                condition=models.Q(("finished_at__isnull", False), ("raw_in_row", True)),
                fields=["finished_at"],
                name="outbound_raw_to_move",
            ),
        ),
        migrations.AddIndex(
            model_name="rawobject",
            index=models.Index(fields=["inbox_id"], name="raw_object_by_inbox"),
        ),
        migrations.AddIndex(
            model_name="rawobject",
            index=models.Index(
                condition=models.Q(("state", "moving"), ("state", "leaving"), _connector="OR"),
                fields=["state", "lease_until"],
                name="raw_object_unfinished",
            ),
        ),
        migrations.RunPython(drop_like_index, refuse_to_lose_mail),
    ]
