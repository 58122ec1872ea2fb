from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inboxes", "0009_provider_rights"),
    ]

    operations = [
        migrations.AddField(
            model_name="provider",
            name="inbound_called_at",
            field=models.DateTimeField(editable=False, help_text="when it last called with mail", null=True),
        ),
        migrations.AddField(
            model_name="provider",
            name="tracking_called_at",
            field=models.DateTimeField(
                editable=False, help_text="when its ESP last called with news of mail", null=True
            ),
        ),
    ]
