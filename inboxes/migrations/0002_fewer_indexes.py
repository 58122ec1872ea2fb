import django.db.models.deletion
from django.db import migrations, models

TABLES = ["inboxes_inbox", "inboxes_account", "inboxes_apikey", "inboxes_membership"]


def tune_postgresql(apps, schema_editor):
    """How PostgreSQL keeps these tables; SQLite has no such choices. docs/decisions/0008 says what each bought."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        drop_like_indexes(cursor)
        # Counters of an inbox change with each batch: with room left, the new version stays in the row's page.
        cursor.execute("ALTER TABLE inboxes_inbox SET (fillfactor = 50)")


def drop_like_indexes(cursor):
    """Django gives each indexed text column a second index for LIKE 'prefix%'. Nothing here asks that, and every insert pays for it."""
    cursor.execute(
        "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = ANY(%s) AND indexname ~ '_like$'",
        [TABLES],
    )
    for (name,) in cursor.fetchall():
        cursor.execute(f'DROP INDEX "{name}"')


class Migration(migrations.Migration):
    dependencies = [
        ("inboxes", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="inbox",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="inboxes",
                to="inboxes.account",
            ),
        ),
        migrations.RunPython(tune_postgresql, migrations.RunPython.noop),
    ]
