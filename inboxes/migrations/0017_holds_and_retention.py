import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inboxes", "0016_tracking"),
    ]

    operations = [
        migrations.AddField(
            model_name="inbox",
            name="messages_removed",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="messages whose time was over, or that were erased one by one",
            ),
        ),
        migrations.AddField(
            model_name="inbox",
            name="retention_due_at",
            field=models.DateTimeField(
                db_default=django.db.models.functions.datetime.Now(),
                default=django.utils.timezone.now,
                editable=False,
                help_text="when the sweep of retention looks at it next",
            ),
        ),
        migrations.CreateModel(
            name="LegalHold",
            fields=[
                ("id", models.CharField(editable=False, max_length=40, primary_key=True)),
                ("matter", models.CharField(help_text="The name of the case.", max_length=200)),
                ("reason", models.CharField(max_length=1000)),
                ("placed_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "placed_by",
                    models.CharField(editable=False, help_text="as the actor was called then", max_length=200),
                ),
                ("released_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("released_by", models.CharField(blank=True, editable=False, max_length=200)),
                ("release_reason", models.CharField(blank=True, editable=False, max_length=1000)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="holds",
                        to="inboxes.account",
                    ),
                ),
                (
                    "inbox",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        help_text="Empty: all inboxes of the account, those that are made later too.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="holds",
                        to="inboxes.inbox",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="RetentionClass",
            fields=[
                ("id", models.CharField(editable=False, max_length=40, primary_key=True)),
                ("name", models.CharField(max_length=100)),
                (
                    "content_days",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Messages and attachments.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "raw_days",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Raw mail. It goes with its message at the latest.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "events_days",
                    models.PositiveIntegerField(
                        blank=True, null=True, validators=[django.core.validators.MinValueValidator(1)]
                    ),
                ),
                (
                    "audit_days",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="The audit trail: 30 days at least.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(30)],
                    ),
                ),
                (
                    "is_default",
                    models.BooleanField(default=False, help_text="For the inboxes of the account that name no class."),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="retention_classes",
                        to="inboxes.account",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "retention classes",
                "ordering": ["name", "id"],
                "base_manager_name": "objects",
            },
        ),
        migrations.AddField(
            model_name="inbox",
            name="retention_class",
            field=models.ForeignKey(
                blank=True,
                help_text="How long it keeps what it has. Empty: as the account's default class says, or the server.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="inboxes",
                to="inboxes.retentionclass",
            ),
        ),
        migrations.AddIndex(
            model_name="inbox",
            index=models.Index(fields=["retention_due_at", "id"], name="inbox_retention_due"),
        ),
        migrations.AddIndex(
            model_name="legalhold",
            index=models.Index(fields=["account", "-id"], name="hold_list"),
        ),
        migrations.AddIndex(
            model_name="legalhold",
            index=models.Index(
                condition=models.Q(("released_at", None)), fields=["account", "inbox"], name="hold_in_force"
            ),
        ),
        migrations.AddConstraint(
            model_name="retentionclass",
            constraint=models.UniqueConstraint(fields=("account", "name"), name="one_retention_class_per_name"),
        ),
        migrations.AddConstraint(
            model_name="retentionclass",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_default", True)), fields=("account",), name="one_default_retention_per_account"
            ),
        ),
        migrations.AddConstraint(
            model_name="retentionclass",
            constraint=models.CheckConstraint(
                condition=models.Q(("audit_days", None), ("audit_days__gte", 30), _connector="OR"),
                name="retention_keeps_the_trail",
            ),
        ),
    ]
