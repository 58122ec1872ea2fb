import django.db.models.deletion
from django.db import migrations, models

TABLES = ["audit_auditentry"]


def tune_postgresql(apps, schema_editor):
    """How PostgreSQL keeps these tables; SQLite has no such choices. docs/decisions/0008 says what each bought."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        drop_like_indexes(cursor)


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
        ("audit", "0001_initial"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.AlterField(
            model_name="auditentry",
            name="action",
            field=models.PositiveSmallIntegerField(
                choices=[(0, "create"), (1, "update"), (2, "delete"), (3, "access")], verbose_name="kind"
            ),
        ),
        migrations.AlterField(
            model_name="auditentry",
            name="content_type",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="contenttypes.contenttype",
            ),
        ),
        migrations.AlterField(
            model_name="auditentry",
            name="object_id",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.RunPython(tune_postgresql, migrations.RunPython.noop),
    ]
