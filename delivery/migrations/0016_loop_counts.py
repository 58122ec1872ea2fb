import django.db.models.deletion
from django.db import migrations, models

# (table, column, the table that it leads to, the column beside the id that both must agree on)
KEYS = [("delivery_loopcount", "inbox_id", "inboxes_inbox", "account_id")]


def carry_the_tenant(apps, schema_editor):
    """As in 0005: a row of one tenant cannot point at another's. The column has no key of its own beside this one."""
    if schema_editor.connection.vendor != "postgresql":
        return
    for table, column, target, beside in KEYS:
        schema_editor.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_with_{beside} FOREIGN KEY ({column}, {beside})"
            f" REFERENCES {target} (id, {beside}) DEFERRABLE INITIALLY DEFERRED"
        )


class Migration(migrations.Migration):
    dependencies = [
        ("delivery", "0015_suppression_account_key"),
        ("inboxes", "0010_provider_calls"),
    ]

    operations = [
        migrations.CreateModel(
            name="LoopCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(help_text="the id of the thread, or a digest of the address", max_length=40)),
                ("times", models.JSONField(default=list, help_text="milliseconds since 1970; no more than the limit")),
                ("last_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inboxes.account",
                    ),
                ),
                (
                    "inbox",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inboxes.inbox",
                    ),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "indexes": [models.Index(fields=["last_at"], name="loop_count_over")],
                "constraints": [models.UniqueConstraint(fields=("inbox", "key"), name="one_loop_count")],
            },
        ),
        migrations.RunPython(carry_the_tenant, migrations.RunPython.noop),
    ]
