from django.db import migrations

# (table, column, the table that it leads to)
KEYS = [
    ("inboxes_legalhold", "inbox_id", "inboxes_inbox"),
    ("inboxes_inbox", "retention_class_id", "inboxes_retentionclass"),
]


def carry_the_tenant(apps, schema_editor):
    """A row of one tenant cannot point at another's (0007_account_keys). The columns are new and empty: nothing has to be read."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "CREATE UNIQUE INDEX inboxes_retentionclass_id_account_id ON inboxes_retentionclass (id, account_id)"
        )
        for table, column, target in KEYS:
            for name in single_keys(cursor, table, column):
                cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
            cursor.execute(
                f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_with_account_id FOREIGN KEY ({column}, account_id)"
                f" REFERENCES {target} (id, account_id) DEFERRABLE INITIALLY DEFERRED"
            )


def single_keys(cursor, table, column):
    """Names of the foreign keys of this column alone, which the new one makes superfluous."""
    cursor.execute(
        "SELECT c.conname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
        " WHERE c.contype = 'f' AND c.conrelid = %s::regclass AND a.attname = %s AND array_length(c.conkey, 1) = 1",
        [table, column],
    )
    return [name for (name,) in cursor.fetchall()]


class Migration(migrations.Migration):
    dependencies = [("inboxes", "0017_holds_and_retention")]

    operations = [migrations.RunPython(carry_the_tenant, migrations.RunPython.noop)]
