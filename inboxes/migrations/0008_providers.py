import secrets

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inboxes", "0007_account_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="on_unknown",
            field=models.CharField(
                choices=[
                    ("at_most_once", "at most once: it waits for an operator's decision"),
                    ("at_least_once", "at least once: it is sent again, with the same Message-ID"),
                ],
                default="at_most_once",
                help_text="What becomes of a mail that a provider may have taken or not, where nobody can be asked.",
                max_length=13,
            ),
        ),
        migrations.CreateModel(
            name="Provider",
            fields=[
                ("id", models.CharField(editable=False, max_length=40, primary_key=True)),
                ("name", models.CharField(help_text="As people know it: “Postmark, transactional”.", max_length=100)),
                ("esp", models.CharField(help_text="A key of delivery.esps.", max_length=20, verbose_name="ESP")),
                (
                    "sealed",
                    models.TextField(editable=False, help_text="its credentials, encrypted (mailbot.lib.crypto)"),
                ),
                (
                    "token",
                    models.CharField(
                        default=secrets.token_urlsafe,
                        editable=False,
                        help_text="in the addresses of its webhooks",
                        max_length=43,
                    ),
                ),
                (
                    "is_default",
                    models.BooleanField(
                        default=False,
                        help_text="Mail goes through it where an inbox names none: of its account, or of all accounts.",
                    ),
                ),
                (
                    "concurrency",
                    models.PositiveSmallIntegerField(
                        default=8, help_text="How many mails may be on their way to it at one moment, from all workers."
                    ),
                ),
                ("is_paused", models.BooleanField(default=False, help_text="Its mail waits.")),
                ("paused_reason", models.CharField(blank=True, max_length=500)),
                (
                    "waits_until",
                    models.DateTimeField(
                        editable=False,
                        help_text="It asked us to wait (Retry-After): until then nothing is handed to it.",
                        null=True,
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: all accounts may send through it.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="providers",
                        to="inboxes.account",
                    ),
                ),
                (
                    "fallback",
                    models.ForeignKey(
                        blank=True,
                        help_text="Who carries mail that this one surely did not take, for now.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="inboxes.provider",
                    ),
                ),
            ],
            options={
                "ordering": ["name", "id"],
                "base_manager_name": "objects",
            },
        ),
        migrations.AddField(
            model_name="inbox",
            name="provider",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="Who carries its mail on. Empty: the default of its account, or of the server.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="inboxes.provider",
            ),
        ),
        migrations.AddConstraint(
            model_name="provider",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_default", True)), fields=("account",), name="one_default_provider_per_account"
            ),
        ),
        migrations.AddConstraint(
            model_name="provider",
            constraint=models.UniqueConstraint(
                condition=models.Q(("account", None), ("is_default", True)),
                fields=("is_default",),
                name="one_default_provider_of_all",
            ),
        ),
        migrations.AddConstraint(
            model_name="provider",
            constraint=models.CheckConstraint(
                condition=models.Q(("concurrency__gte", 1)), name="provider_carries_something"
            ),
        ),
    ]
