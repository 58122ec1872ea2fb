from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("delivery", "0010_heartbeat"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="providerevent",
            index=models.Index(fields=["provider", "id"], name="provider_event_of_provider"),
        ),
        migrations.AddIndex(
            model_name="providerevent",
            index=models.Index(
                condition=models.Q(("state", "unmatched"), ("state", "failed"), _connector="OR"),
                fields=["provider", "id"],
                name="provider_event_in_trouble",
            ),
        ),
    ]
