"""Suppressions of an erased person: the address goes, a keyed hash of it stays, so that nothing is sent there again."""

from collections.abc import Iterator

from django.conf import settings
from django.db import transaction

from delivery.erasing.person import Person
from delivery.models import Suppression
from delivery.suppression_model import erased_digest


def suppressions_of(person: Person) -> Iterator[Suppression]:
    """Entries hold addresses without their tags: one is this person's where that is the very address."""
    yield from Suppression.objects.filter(account_id=person.account_id, address=person.address).order_by("pk")


@transaction.atomic
def hash_suppressions(person: Person) -> int:
    """How many there were. The reason goes too: a bounce says there who it is about."""
    hashed = 0
    for entry in list(suppressions_of(person)):
        digest = erased_digest(entry.digest, settings.ENCRYPTION_KEYS[0])
        if Suppression.objects.filter(digest=digest).exists():  # he was erased before, and suppressed anew since
            entry.delete()
        else:
            rows = Suppression.objects.filter(pk=entry.pk)
            rows.update(address="", reason="", person=person.pseudonym, digest=digest)
        hashed += 1
    return hashed
