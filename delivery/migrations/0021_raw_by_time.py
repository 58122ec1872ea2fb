from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("delivery", "0020_erasure_rights")]

    operations = [
        # First the new one, so that there is always one by which an inbox is found.
        migrations.AddIndex(
            model_name="rawobject",
            index=models.Index(fields=["inbox_id", "mail_at"], name="raw_object_by_inbox_and_time"),
        ),
        migrations.RemoveIndex(model_name="rawobject", name="raw_object_by_inbox"),
    ]
