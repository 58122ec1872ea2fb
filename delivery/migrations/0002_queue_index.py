from contextlib import suppress

from django.db import NotSupportedError, migrations, models, transaction

TABLES = ["delivery_inboundmail", "delivery_outboundmail", "delivery_recipient", "delivery_sendattempt"]


def tune_postgresql(apps, schema_editor):
    """How PostgreSQL keeps these tables; SQLite has no such choices. docs/decisions/0008 says what each bought."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        drop_like_indexes(cursor)
        # A row of a queue is written three times: stored, claimed, done. With room left, the versions stay in its page.
        cursor.execute("ALTER TABLE delivery_inboundmail SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02)")
        cursor.execute("ALTER TABLE delivery_inboundlane SET (fillfactor = 10)")
        compress_quickly(cursor, "delivery_inboundmail", "raw")
        compress_quickly(cursor, "delivery_outboundmail", "raw")


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
        ("delivery", "0001_initial"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="inboundmail",
            name="inbound_unfinished",
        ),
        migrations.AddIndex(
            model_name="inboundmail",
            index=models.Index(
                condition=models.Q(("processed_at", None)), fields=["id", "lane"], name="inbound_unfinished"
            ),
        ),
        migrations.RunPython(tune_postgresql, migrations.RunPython.noop),
    ]
