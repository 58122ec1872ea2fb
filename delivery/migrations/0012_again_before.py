from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("delivery", "0011_provider_event_lookups")]

    operations = [
        migrations.AddField(
            model_name="outboundmail",
            name="again_before",
            field=models.DateTimeField(
                blank=True,
                help_text="until when its carrier, which may have it, knows it by its key; then it is not handed over",
                null=True,
            ),
        ),
        # SQLite makes the table anew for another default, and puts the column that is altered last: `raw` has to be.
        migrations.AlterField(
            model_name="outboundmail",
            name="raw",
            field=models.BinaryField(default=bytes),
        ),
    ]
