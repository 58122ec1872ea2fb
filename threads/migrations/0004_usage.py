from django.db import migrations

DAY = {"postgresql": "(m.created_at AT TIME ZONE 'UTC')::date", "sqlite": "date(m.created_at)"}
LENGTH = {"postgresql": "jsonb_array_length(m.recipients)", "sqlite": "json_array_length(m.recipients)"}


def count_what_is_there(apps, schema_editor):
    """Usage and sizes of the messages that were filed before they were counted as they come."""
    vendor = schema_editor.connection.vendor
    schema_editor.execute(
        "INSERT INTO inboxes_dailyusage (account_id, inbox_id, mode, day, received, sent, recipients, octets)"  # noqa: S608 (our own text)
        f" SELECT m.account_id, m.inbox_id, i.mode, {DAY[vendor]},"
        " COUNT(*) FILTER (WHERE m.direction = 'inbound'), COUNT(*) FILTER (WHERE m.direction = 'outbound'),"
        f" SUM(CASE WHEN m.direction = 'outbound' THEN {LENGTH[vendor]} ELSE 0 END), SUM(m.size)"
        " FROM threads_message m JOIN inboxes_inbox i ON i.id = m.inbox_id WHERE true"
        " GROUP BY 1, 2, 3, 4 ON CONFLICT (inbox_id, day) DO NOTHING"
    )
    messages = "FROM threads_message m WHERE m.inbox_id = inboxes_inbox.id"
    files = (
        "FROM threads_attachment a JOIN threads_message m ON m.id = a.message_id WHERE m.inbox_id = inboxes_inbox.id"
    )
    schema_editor.execute(
        f"UPDATE inboxes_inbox SET message_octets = COALESCE((SELECT SUM(m.size) {messages}), 0),"  # noqa: S608 (our own text)
        f" attachment_octets = COALESCE((SELECT SUM(a.size) {files}), 0) WHERE message_count > 0"
    )


class Migration(migrations.Migration):
    dependencies = [
        ("inboxes", "0006_limits"),
        ("threads", "0003_search"),
    ]

    operations = [
        migrations.RunPython(count_what_is_there, migrations.RunPython.noop),
    ]
