import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inboxes", "0019_hold_rights"),
    ]

    operations = [
        migrations.CreateModel(
            name="ContentReview",
            fields=[
                ("id", models.CharField(editable=False, max_length=40, primary_key=True)),
                ("account_id", models.CharField(max_length=40)),
                ("inbox_id", models.CharField(max_length=40)),
                ("reviewer_id", models.CharField(help_text="the user, as the trail names him", max_length=150)),
                ("reviewer", models.CharField(help_text="his name as it was then", max_length=200)),
                ("membership_id", models.CharField(max_length=40)),
                ("reason", models.CharField(max_length=500)),
                ("entry_id", models.CharField(help_text="of the trail: that it began", max_length=40)),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("until", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("ended_by", models.CharField(blank=True, default="", max_length=200)),
                ("end_reason", models.CharField(blank=True, default="", max_length=200)),
            ],
            options={
                "ordering": ["-id"],
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(fields=["account_id", "inbox_id", "-id"], name="review_of_inbox"),
                    models.Index(condition=models.Q(("ended_at", None)), fields=["reviewer_id"], name="review_open"),
                ],
            },
        ),
    ]
