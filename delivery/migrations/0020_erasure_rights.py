from django.db import migrations

# The rights of a "full" key before this version, and those that such a key has from now on.
OLD_FULL = (
    "inboxes:create inboxes:read inboxes:write inboxes:delete messages:read messages:send messages:write threads:read threads:write"
    " events:read audit:read drafts:read drafts:write drafts:approve lists:read lists:write suppressions:read suppressions:write"
    " domains:read domains:manage providers:read providers:manage compliance:read engagement:read webhooks:manage usage:read"
    " keys:read keys:manage sandbox:simulate holds:read holds:write retention:read retention:manage"
).split()
NEW_FULL = [*OLD_FULL, "erasures:read", "erasures:write"]


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


class Migration(migrations.Migration):
    dependencies = [("delivery", "0019_erasures"), ("inboxes", "0019_hold_rights")]

    operations = [migrations.RunPython(widen_full_keys, narrow_full_keys)]
