from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("audit", "0009_months")]

    operations = [
        migrations.AddField(
            model_name="export",
            name="restarts",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="from its beginning, because the store lost a part"
            ),
        ),
    ]
