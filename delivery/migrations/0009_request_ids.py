from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("delivery", "0008_outbox_state")]

    operations = [
        migrations.AddField(
            model_name="outboundmail",
            name="request_id",
            field=models.CharField(blank=True, help_text="of the call of the API that it came by", max_length=100),
        ),
        # SQLite makes the table anew for it and puts a column that is altered last: `raw` has to be.
        migrations.AlterField(
            model_name="outboundmail",
            name="raw",
            field=models.BinaryField(default=b""),
        ),
    ]
