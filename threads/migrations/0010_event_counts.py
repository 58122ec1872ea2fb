import django.db.models.deletion
from django.db import migrations, models

# (table, column, the table that it leads to, the column beside the id that both must agree on)
KEYS = [("threads_dailyevents", "inbox_id", "inboxes_inbox", "account_id")]


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
        ("inboxes", "0016_tracking"),
        ("threads", "0009_sender_verdicts"),
    ]

    operations = [
        migrations.CreateModel(
            name="DailyEvents",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("kind", models.CharField(max_length=20)),
                ("number", models.PositiveBigIntegerField(default=0)),
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
                "indexes": [models.Index(fields=["account", "day"], name="event_counts_by_account")],
                "constraints": [
                    models.UniqueConstraint(fields=("inbox", "day", "kind"), name="one_count_of_events"),
                ],
            },
        ),
        migrations.RunPython(carry_the_tenant, migrations.RunPython.noop),
    ]
