from django.db import migrations, models

# The rights of a "full" key before this version, and those that such a key has from now on.
OLD_FULL = [
    "inboxes:create",
    "inboxes:read",
    "inboxes:write",
    "inboxes:delete",
    "messages:read",
    "messages:send",
    "messages:write",
    "threads:read",
    "threads:write",
    "events:read",
    "audit:read",
]
NEW_FULL = [
    *OLD_FULL,
    "drafts:read",
    "drafts:write",
    "drafts:approve",
    "lists:read",
    "lists:write",
    "suppressions:read",
    "suppressions:write",
    "domains:read",
    "domains:manage",
    "compliance:read",
    "engagement:read",
    "webhooks:manage",
    "usage:read",
    "keys:read",
    "keys:manage",
    "sandbox:simulate",
]


def check_now(schema_editor):
    """PostgreSQL alters no table that has checks of foreign keys waiting, and the table is altered in the same transaction."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def give(apps, old, new):
    ApiKey = apps.get_model("inboxes", "ApiKey")
    for key in ApiKey.objects.only("pk", "permissions").iterator():
        if set(key.permissions) == set(old):
            ApiKey.objects.filter(pk=key.pk).update(permissions=new)


def widen_full_keys(apps, schema_editor):
    """Who had every right there was keeps every right there is. A key that lacked one gets none."""
    give(apps, OLD_FULL, NEW_FULL)


def narrow_full_keys(apps, schema_editor):
    give(apps, NEW_FULL, OLD_FULL)


def inbox_to_list(apps, schema_editor):
    ApiKey = apps.get_model("inboxes", "ApiKey")
    for key in ApiKey.objects.filter(inbox__isnull=False).only("pk", "inbox_id").iterator():
        ApiKey.objects.filter(pk=key.pk).update(inbox_ids=[key.inbox_id])


def list_to_inbox(apps, schema_editor):
    """What was there before knows one inbox or all. A key of none or several is revoked: it must not see more than it did."""
    from django.utils import timezone

    ApiKey = apps.get_model("inboxes", "ApiKey")
    for key in ApiKey.objects.filter(inbox_ids__isnull=False).iterator():
        if len(key.inbox_ids) == 1:
            ApiKey.objects.filter(pk=key.pk).update(inbox_id=key.inbox_ids[0])
        else:
            ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    check_now(schema_editor)


def say_mode_of_entries(apps, schema_editor):
    """The new column of entries about keys, and of what keys did to no inbox. Nothing that was recorded changes."""
    schema_editor.execute(
        "UPDATE audit_auditentry SET mode = COALESCE("
        " (SELECT mode FROM inboxes_apikey WHERE inboxes_apikey.id = object_pk),"
        " (SELECT mode FROM inboxes_apikey WHERE inboxes_apikey.id = actor_id), '')"
        " WHERE inbox_id = '' AND mode = '' AND (object_type = 'apikey' OR actor_kind = 'api_key')"
    )
    check_now(schema_editor)


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0003_entry_mode"),
        ("inboxes", "0002_fewer_indexes"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="inbox_ids",
            field=models.JSONField(
                blank=True,
                help_text="Limits the key to these inboxes, by id. Null: all inboxes of the account in this mode. An empty list: none.",
                null=True,
            ),
        ),
        migrations.RunPython(inbox_to_list, list_to_inbox),
        migrations.RunPython(widen_full_keys, narrow_full_keys),
        migrations.RunPython(say_mode_of_entries, migrations.RunPython.noop),
        migrations.RemoveField(model_name="apikey", name="inbox"),
    ]
