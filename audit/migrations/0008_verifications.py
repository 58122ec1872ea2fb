from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0007_exports"),
    ]

    operations = [
        migrations.CreateModel(
            name="Verification",
            fields=[
                ("account_id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("by", models.CharField(max_length=200)),
                ("verified", models.BigIntegerField()),
                ("size", models.BigIntegerField(help_text="of the newest head when it was looked at")),
                ("head_time", models.DateTimeField(null=True)),
                ("head_key", models.CharField(blank=True, default="", max_length=16)),
                ("head_root", models.CharField(blank=True, default="", max_length=64)),
                ("removed", models.BigIntegerField(default=0, help_text="entries that were removed, as an entry says")),
                (
                    "replaced",
                    models.BigIntegerField(
                        default=0, help_text="entries with values that were replaced, as an entry says"
                    ),
                ),
                (
                    "findings",
                    models.JSONField(default=list, help_text="{kind, what, seq, id}, the first bad entry first"),
                ),
            ],
            options={
                "base_manager_name": "objects",
            },
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                condition=models.Q(
                    (
                        "act__in",
                        [
                            "key.issued",
                            "key.updated",
                            "key.revoked",
                            "key.deleted",
                            "membership.created",
                            "membership.updated",
                            "membership.deleted",
                            "member.role_changed",
                            "member.removed",
                        ],
                    )
                ),
                fields=["account_id", "-timestamp", "-public_id"],
                name="audit_access",
            ),
        ),
    ]
