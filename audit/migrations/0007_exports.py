import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0006_seals"),
    ]

    operations = [
        migrations.CreateModel(
            name="Export",
            fields=[
                ("id", models.CharField(editable=False, max_length=40, primary_key=True)),
                ("account_id", models.CharField(max_length=40)),
                (
                    "inbox_id",
                    models.CharField(blank=True, default="", help_text="empty: the whole account", max_length=40),
                ),
                ("mode", models.CharField(blank=True, default="", help_text="test or live; empty: both", max_length=4)),
                ("since", models.DateTimeField(null=True)),
                ("until", models.DateTimeField(null=True)),
                (
                    "include",
                    models.CharField(
                        blank=True, default="", help_text="beside the trail: messages threads", max_length=100
                    ),
                ),
                ("reason", models.CharField(max_length=500)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("failed", "Failed"),
                            ("expired", "Expired"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("done", models.BigIntegerField(default=0, help_text="of `total` pieces of work")),
                ("total", models.BigIntegerField(default=0)),
                ("entries", models.BigIntegerField(null=True)),
                ("size", models.BigIntegerField(help_text="octets of the zip", null=True)),
                ("sha256", models.CharField(blank=True, default="", max_length=64)),
                ("error", models.CharField(blank=True, default="", max_length=500)),
                ("downloads", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("finished_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("actor_kind", models.CharField(max_length=20)),
                ("actor_id", models.CharField(blank=True, default="", max_length=150)),
                ("actor_name", models.CharField(blank=True, default="", max_length=200)),
                ("request_id", models.CharField(blank=True, default="", max_length=100)),
                ("head_id", models.BigIntegerField(help_text="the AuditHead that it is as of", null=True)),
                ("trail", models.JSONField(help_text="the audit part of the manifest, once that is known", null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0, help_text="in a row that came to nothing")),
                ("lease", models.CharField(blank=True, default="", max_length=32)),
                ("lease_until", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["-id"],
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(fields=["account_id", "-id"], name="export_list"),
                    models.Index(
                        condition=models.Q(("status", "queued"), ("status", "running"), _connector="OR"),
                        fields=["id"],
                        name="export_to_make",
                    ),
                    models.Index(
                        condition=models.Q(("status", "done")), fields=["expires_at"], name="export_to_expire"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ExportPart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("account_id", models.CharField(max_length=40)),
                ("number", models.PositiveIntegerField()),
                ("name", models.CharField(max_length=100)),
                ("size", models.PositiveIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("state", models.JSONField()),
                (
                    "export",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="parts",
                        to="audit.export",
                    ),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "constraints": [models.UniqueConstraint(fields=("export", "number"), name="export_part_number")],
            },
        ),
    ]
