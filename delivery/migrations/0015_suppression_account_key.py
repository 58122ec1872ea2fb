from django.db import migrations


def carry_the_tenant(apps, schema_editor):
    """A row of one tenant cannot point at another's inbox. On PostgreSQL: SQLite adds no key to a table that is there."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.conname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
            " WHERE c.contype = 'f' AND c.conrelid = 'delivery_suppression'::regclass AND a.attname = 'inbox_id'"
            " AND array_length(c.conkey, 1) = 1"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f'ALTER TABLE delivery_suppression DROP CONSTRAINT "{name}"')
        cursor.execute(
            "ALTER TABLE delivery_suppression ADD CONSTRAINT delivery_suppression_inbox_id_with_account_id"
            " FOREIGN KEY (inbox_id, account_id) REFERENCES inboxes_inbox (id, account_id) DEFERRABLE INITIALLY DEFERRED"
        )


class Migration(migrations.Migration):
    dependencies = [("delivery", "0014_suppressions")]

    operations = [migrations.RunPython(carry_the_tenant, migrations.RunPython.noop)]
