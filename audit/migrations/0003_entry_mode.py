from django.db import migrations, models


class Migration(migrations.Migration):
    """Entries of before have no mode; inboxes/0003_key_inboxes says it of those about keys."""

    dependencies = [
        ("audit", "0002_fewer_indexes"),
    ]

    operations = [
        migrations.AddField(
            model_name="auditentry",
            name="mode",
            field=models.CharField(blank=True, default="", max_length=4),
        ),
    ]
