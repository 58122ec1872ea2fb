from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inboxes", "0015_list_unsubscribe")]

    operations = [
        migrations.AddField(
            model_name="inbox",
            name="track_opens",
            field=models.BooleanField(default=False, help_text="Whether it is seen that its mail is opened."),
        ),
        migrations.AddField(
            model_name="inbox",
            name="track_clicks",
            field=models.BooleanField(
                default=False, help_text="Whether it is seen that links in its mail are followed."
            ),
        ),
    ]
