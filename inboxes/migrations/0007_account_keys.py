from django.db import migrations

# (table, column, the table that it leads to, the column beside the id that both must agree on)
KEYS = [
    ("inboxes_addressrule", "inbox_id", "inboxes_inbox", "account_id"),
    ("inboxes_dailyusage", "inbox_id", "inboxes_inbox", "account_id"),
    ("inboxes_keptanswer", "inbox_id", "inboxes_inbox", "account_id"),
]
UNIQUE = [("inboxes_inbox", "account_id")]


def carry_the_tenant(apps, schema_editor):
    """A row of one tenant cannot point at another's. On PostgreSQL: SQLite adds no key to a table that is there.

    Each statement is a transaction of its own and reads or writes beside everybody else: a large table is not locked for long.
    """
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        for table, column in UNIQUE:
            drop_half_made(cursor, f"{table}_id_{column}")
            cursor.execute(
                f"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {table}_id_{column} ON {table} (id, {column})"
            )
        for table, column, target, beside in KEYS:
            for name in single_keys(cursor, table, column):
                cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
            name = f"{table}_{column}_with_{beside}"
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
            cursor.execute(
                f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column}, {beside}) REFERENCES {target} (id, {beside})"
                " DEFERRABLE INITIALLY DEFERRED NOT VALID"
            )
            cursor.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def drop_half_made(cursor, index):
    """What an earlier try left that was stopped in the middle: it has the name, and holds nothing up."""
    cursor.execute("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid", [index])
    if cursor.fetchone():
        cursor.execute(f"DROP INDEX CONCURRENTLY {index}")


def single_keys(cursor, table, column):
    """Names of the foreign keys of this column alone, which the new one makes superfluous: each is a look-up for every row."""
    cursor.execute(
        "SELECT c.conname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
        " WHERE c.contype = 'f' AND c.conrelid = %s::regclass AND a.attname = %s AND array_length(c.conkey, 1) = 1",
        [table, column],
    )
    return [name for (name,) in cursor.fetchall()]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("inboxes", "0006_limits")]

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
        migrations.AlterModelOptions(
            name="addressrule",
            options={
                "base_manager_name": "objects",
                "ordering": ["-id"],
                "verbose_name": "list entry",
                "verbose_name_plural": "list entries",
            },
        ),
        migrations.AlterModelOptions(name="dailyusage", options={"base_manager_name": "objects"}),
        migrations.AlterModelOptions(name="keptanswer", options={"base_manager_name": "objects"}),
        migrations.RunPython(carry_the_tenant, migrations.RunPython.noop),
    ]
