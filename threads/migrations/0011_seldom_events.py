from django.db import migrations, models

KINDS = ("opened", "clicked", "bounced", "complained", "unsubscribed", "deferred", "failed")
SELDOM = models.Q(*(("type", f"message.{kind}") for kind in KINDS), _connector="OR")


def index(column):
    return models.Index(condition=SELDOM, fields=[column, "type", "-id"], name=f"event_seldom_by_{column}")


def build_indexes(apps, schema_editor):
    """On PostgreSQL beside whoever writes events meanwhile: to read a large table takes minutes."""
    event = apps.get_model("threads", "Event")
    for column in ("inbox", "account"):
        if schema_editor.connection.vendor != "postgresql":
            schema_editor.add_index(event, index(column))
            continue
        schema_editor.execute(
            f"DROP INDEX CONCURRENTLY IF EXISTS event_seldom_by_{column}"
        )  # half made by an earlier try
        schema_editor.add_index(event, index(column), concurrently=True)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("threads", "0010_event_counts")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(build_indexes, migrations.RunPython.noop, atomic=False)],
            state_operations=[
                migrations.AddIndex(model_name="event", index=index("inbox")),
                migrations.AddIndex(model_name="event", index=index("account")),
            ],
        ),
    ]
