from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("threads", "0005_account_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="thread",
            name="claimed_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="thread",
            name="lease_token",
            field=models.PositiveBigIntegerField(editable=False, help_text="grows with each new owner", null=True),
        ),
        migrations.AddField(
            model_name="thread",
            name="lease_until",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="thread",
            name="owner_agent",
            field=models.CharField(editable=False, help_text="whom of its users it named", max_length=100, null=True),
        ),
        migrations.AddField(
            model_name="thread",
            name="owner_id",
            field=models.CharField(editable=False, help_text="the API key that claimed it", max_length=40, null=True),
        ),
        migrations.AddField(
            model_name="thread",
            name="owner_name",
            field=models.CharField(editable=False, help_text="of that key, as it was then", max_length=100, null=True),
        ),
    ]
