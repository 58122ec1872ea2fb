"""What is kept encrypted, as a whole: encrypted anew when the key changes, and looked at when the server starts."""

from collections.abc import Iterator, Sequence

from django.core.checks import CheckMessage, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import DatabaseError, connection

from inboxes.models import Provider
from mailbot.lib.crypto import CannotDecrypt, decrypted, rotated
from mailbot.lib.scope import acting_for_everybody


def rotate_credentials() -> Iterator[tuple[Provider, bool]]:
    """Each provider, and whether it is encrypted with the newest key now; False: no key decrypts it. Safe to repeat.

    Written only where nobody has entered others meanwhile: those are encrypted with the newest key already.
    """
    for provider in Provider.objects.order_by("pk").iterator():
        try:
            sealed = rotated(provider.sealed)
        except CannotDecrypt:
            yield provider, False
            continue
        Provider.objects.filter(pk=provider.pk, sealed=provider.sealed).update(sealed=sealed)
        yield provider, True


@register(Tags.database)
def check_credentials(databases: Sequence[str] | None = None, **_: object) -> list[CheckMessage]:
    """A warning and no error: mail of all other providers goes on. By `migrate` and `check --database default`: a process that only starts
    asks no database, least of all a worker before it forks."""
    if not databases:
        return []
    unreadable = [provider for provider in _providers() if not _is_readable(provider)]
    if not unreadable:
        return []
    names = ", ".join(f"{provider.name} ({provider.pk})" for provider in unreadable[:10])
    hint = "Put the key that they were encrypted with into MAILBOT_ENCRYPTION_KEYS, or enter their credentials anew."
    return [CheckWarning(f"Credentials that no key decrypts: {names}.", hint=hint, id="mailbot.W001")]


def _providers() -> list[Provider]:
    with acting_for_everybody("which credentials can be read"):
        try:
            if Provider._meta.db_table not in connection.introspection.table_names():
                return []
            return list(Provider.objects.only("pk", "name", "sealed"))
        except DatabaseError:  # not migrated this far yet
            return []


def _is_readable(provider: Provider) -> bool:
    try:
        decrypted(provider.sealed)
    except CannotDecrypt:
        return False
    return True
