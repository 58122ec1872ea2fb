"""What is kept encrypted, as a whole: encrypted anew when the key changes, and looked at when the server starts."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from django.core.checks import CheckMessage, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import DatabaseError, connection
from django.db.models import Manager

from delivery.models import Erasure, Suppression
from delivery.suppression_model import is_of_known_key, is_of_newest_key
from inboxes.models import DomainKey, Provider
from mailbot.lib.crypto import CannotDecrypt, decrypted, rotated
from mailbot.lib.scope import acting_for_everybody

Sealed = Provider | DomainKey | Erasure


def rotate_credentials() -> Iterator[tuple[Sealed, bool]]:
    """Each provider, each DKIM key and each erasure under way, and whether
    it is encrypted with the newest key now; False: no key decrypts it. Safe to repeat.

    Written only where nobody has entered others meanwhile: those are encrypted with the newest key already.
    """
    keys = DomainKey.objects.select_related("domain").order_by("pk")
    rows: Iterator[Sealed] = chain(
        Provider.objects.order_by("pk").iterator(),
        keys.iterator(),
        Erasure.objects.exclude(sealed="").order_by("pk").iterator(),
    )
    for row in rows:
        try:
            sealed = rotated(row.sealed)
        except CannotDecrypt:
            yield row, False
            continue
        table: Manager[Any] = type(row)._default_manager
        table.filter(pk=row.pk, sealed=row.sealed).update(sealed=sealed)
        yield row, True


def suppressions_of_lost_keys() -> int:
    """Entries of erased persons that no key finds any more: mail would go there again."""
    digests = Suppression.objects.exclude(person="").values_list("digest", flat=True)
    return sum(not is_of_known_key(digest) for digest in digests.iterator())


def suppressions_of_old_keys() -> int:
    """Those that are found by another key than the newest: it has to stay, because what they are of is not known."""
    digests = Suppression.objects.exclude(person="").values_list("digest", flat=True)
    return sum(not is_of_newest_key(digest) for digest in digests.iterator())


@register(Tags.database)
def check_credentials(databases: Sequence[str] | None = None, **_: object) -> list[CheckMessage]:
    """A warning and no error: mail of all other providers goes on. By `migrate` and `check --database default`: a process that only starts
    asks no database, least of all a worker before it forks."""
    if not databases:
        return []
    return [*_unreadable(), *_lost()]


def _unreadable() -> list[CheckMessage]:
    unreadable = [row for row in _sealed() if not _is_readable(row)]
    if not unreadable:
        return []
    names = ", ".join(f"{row} ({row.pk})" for row in unreadable[:10])
    hint = (
        "Put the key that they were encrypted with into MAILBOT_ENCRYPTION_KEYS, enter credentials of providers anew, or rotate the keys"
        " of domains."
    )
    return [CheckWarning(f"Credentials that no key decrypts: {names}.", hint=hint, id="mailbot.W001")]


def _lost() -> list[CheckMessage]:
    with acting_for_everybody("whom nothing is sent to"):
        try:
            number = suppressions_of_lost_keys()
        except DatabaseError:  # not migrated this far yet
            return []
    if not number:
        return []
    told = f"{number} suppressions of erased persons are found by no key: mail would go to them again."
    hint = "Put the key that was the newest when they were erased back into MAILBOT_ENCRYPTION_KEYS, behind the others."
    return [CheckWarning(told, hint=hint, id="mailbot.W002")]


def _sealed() -> list[Sealed]:
    with acting_for_everybody("which credentials can be read"):
        try:
            if DomainKey._meta.db_table not in connection.introspection.table_names():
                return []
            return [*Provider.objects.only("pk", "name", "sealed"), *DomainKey.objects.select_related("domain")]
        except DatabaseError:  # not migrated this far yet
            return []


def _is_readable(row: Sealed) -> bool:
    try:
        decrypted(row.sealed)
    except CannotDecrypt:
        return False
    return True
