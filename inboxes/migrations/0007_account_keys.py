from django.db import migrations


def let_keys_carry_the_tenant(apps, schema_editor):
    """What belongs to an inbox names its account too, and the database holds both against this. SQLite adds no key afterwards."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS inboxes_inbox_id_account_id ON inboxes_inbox (id, account_id)"
        )


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("inboxes", "0002_fewer_indexes")]

    operations = [
        migrations.AlterModelOptions(name="account", options={"base_manager_name": "objects", "ordering": ["name"]}),
        migrations.AlterModelOptions(
            name="apikey", options={"base_manager_name": "objects", "ordering": ["-id"], "verbose_name": "API key"}
        ),
        migrations.AlterModelOptions(
            name="inbox",
            options={"base_manager_name": "objects", "ordering": ["-id"], "verbose_name_plural": "inboxes"},
        ),
        migrations.AlterModelOptions(name="membership", options={"base_manager_name": "objects"}),
        migrations.RunPython(let_keys_carry_the_tenant, migrations.RunPython.noop),
    ]
