import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    """The indexes follow the order in which the trail is read; the one by time, which nobody asks, pays for the one by account."""

    dependencies = [
        ("audit", "0003_entry_mode"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="auditentry", name="audit_by_inbox"),
        migrations.AlterField(
            model_name="auditentry",
            name="timestamp",
            field=models.DateTimeField(default=django.utils.timezone.now),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["account_id", "inbox_id", "-public_id"], name="audit_by_inbox"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["account_id", "-public_id"], name="audit_by_account"),
        ),
    ]
