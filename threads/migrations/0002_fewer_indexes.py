from contextlib import suppress

import django.db.models.deletion
from django.db import NotSupportedError, migrations, models, transaction

TABLES = ["threads_message", "threads_thread", "threads_event", "threads_attachment"]


def tune_postgresql(apps, schema_editor):
    """How PostgreSQL keeps these tables; SQLite has no such choices. docs/decisions/0008 says what each bought."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        drop_like_indexes(cursor)
        # Counters of a thread change with each of its mails: with room left, the new version stays in the row's page.
        cursor.execute("ALTER TABLE threads_thread SET (fillfactor = 80)")
        compress_quickly(
            cursor, "threads_message", "body_text", "body_html", "extracted_text", "extracted_html", "headers"
        )


def drop_like_indexes(cursor):
    """Django gives each indexed text column a second index for LIKE 'prefix%'. Nothing here asks that, and every insert pays for it."""
    cursor.execute(
        "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = ANY(%s) AND indexname ~ '_like$'",
        [TABLES],
    )
    for (name,) in cursor.fetchall():
        cursor.execute(f'DROP INDEX "{name}"')


def compress_quickly(cursor, table, *columns):
    """lz4 costs a fraction of the default's time; a server that was built without it keeps the default."""
    for column in columns:
        with suppress(NotSupportedError), transaction.atomic():
            cursor.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET COMPRESSION lz4")


class Migration(migrations.Migration):
    dependencies = [
        ("inboxes", "0002_fewer_indexes"),
        ("threads", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="attachment",
            name="account",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="inboxes.account",
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="account",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="inboxes.account",
            ),
        ),
        migrations.AlterField(
            model_name="event",
            name="inbox",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="events", to="inboxes.inbox"
            ),
        ),
        migrations.AlterField(
            model_name="message",
            name="account",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="inboxes.account",
            ),
        ),
        migrations.AlterField(
            model_name="message",
            name="inbox",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="messages", to="inboxes.inbox"
            ),
        ),
        migrations.AlterField(
            model_name="message",
            name="thread",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="messages",
                to="threads.thread",
            ),
        ),
        migrations.AlterField(
            model_name="thread",
            name="account",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="inboxes.account",
            ),
        ),
        migrations.AlterField(
            model_name="thread",
            name="inbox",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="threads", to="inboxes.inbox"
            ),
        ),
        migrations.AddIndex(
            model_name="attachment",
            index=models.Index(fields=["storage_name"], name="attachment_by_file"),
        ),
        migrations.RunPython(tune_postgresql, migrations.RunPython.noop),
    ]
