import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inboxes", "0004_idempotency"),
    ]

    operations = [
        migrations.CreateModel(
            name="AddressRule",
            fields=[
                ("id", models.CharField(editable=False, max_length=40, primary_key=True)),
                ("mode", models.CharField(choices=[("test", "Test"), ("live", "Live")], max_length=4)),
                (
                    "direction",
                    models.CharField(
                        choices=[("send", "Send"), ("receive", "Receive"), ("reply", "Reply")], max_length=7
                    ),
                ),
                ("effect", models.CharField(choices=[("allow", "Allow"), ("block", "Block")], max_length=5)),
                (
                    "pattern",
                    models.CharField(
                        help_text="An address or a domain in canonical form, or * for everybody.", max_length=254
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=500)),
                (
                    "created_by",
                    models.JSONField(default=dict, editable=False, help_text="{kind, id, name} of who added it"),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="address_rules",
                        to="inboxes.account",
                    ),
                ),
                (
                    "inbox",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="Empty: all inboxes of the account in this mode.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="address_rules",
                        to="inboxes.inbox",
                    ),
                ),
            ],
            options={
                "verbose_name": "list entry",
                "verbose_name_plural": "list entries",
                "ordering": ["-id"],
            },
        ),
        migrations.AddConstraint(
            model_name="addressrule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("inbox__isnull", False)),
                fields=("inbox", "direction", "effect", "pattern"),
                name="one_rule_per_inbox",
            ),
        ),
        migrations.AddConstraint(
            model_name="addressrule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("inbox__isnull", True)),
                fields=("account", "mode", "direction", "effect", "pattern"),
                name="one_rule_per_account",
            ),
        ),
        migrations.AddIndex(
            model_name="addressrule",
            index=models.Index(fields=["account", "-id"], name="rule_list"),
        ),
    ]
