"""The audit trail of an account without the person: the pseudonym stands where the address did, and every proof holds (audit.removal).

Entries about a message or thread that was erased lose its subject, whoever is named in it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from audit.leaves import CHANGES, Told
from audit.lookups import entries_by_key
from audit.models import AuditLeaf
from audit.removal import OF_THE_TRAIL, replace_values
from delivery.erasing.person import Person
from delivery.models import ErasedObject, Erasure
from threads.tombstones import WORDS_OF_MAIL

READ = 500
SERVER = ""  # the account of the server's own trail


class Found(NamedTuple):
    """Up to which place it was read, and what is to be put in the place of what, by sequence number."""

    seq: int
    values: dict[int, dict[str, Any]]
    inbox_ids: set[str]


def replace(erasure: Erasure, person: Person, account_id: str, found: Found) -> None:
    if found.values:
        reason = f"Erasure of {person.pseudonym} (GDPR, article 17): {erasure.pk}"
        replace_values(account_id, found.values, reason=reason)


def find_next(erasure_id: str, person: Person, account_id: str, after: int) -> Found | None:
    """Go over the entries behind a place. None where there are no more. Seal first (audit.sealing.seal_all), and replace what is found
    in the same transaction."""
    leaves = list(
        AuditLeaf.objects.filter(account_id=account_id, seq__gt=after)
        .order_by("seq")
        .values_list("seq", "entry_id")[:READ]
    )
    if not leaves:
        return None
    told = entries_by_key([key for _, key in leaves])
    places = [(seq, told[key]) for seq, key in leaves if key in told]  # others were removed
    erased = _erased_among(erasure_id, [entry for _, entry in places])
    values, inboxes = dict[int, dict[str, Any]](), set[str]()
    for seq, entry in places:
        if new := _without(person, entry, erased, is_server=account_id == SERVER):
            values[seq] = new
            inboxes.add(entry.plain["inbox_id"])
    return Found(leaves[-1][0], values, inboxes - {""})


def _erased_among(erasure_id: str, entries: Sequence[Told]) -> set[str]:
    ids = {str(entry.plain["object_id"]) for entry in entries} - {""}
    found = ErasedObject.objects.filter(erasure_id=erasure_id, object_id__in=list(ids))
    # An inbox stands there too; what the trail says of it is no mail.
    return {one for one in found.values_list("object_id", flat=True) if not one.startswith("inbox_")}


def _without(person: Person, entry: Told, erased: set[str], *, is_server: bool) -> dict[str, Any]:
    """What of the entry is to be replaced, by name. The server's own trail is not the account's: there only what is of erased mail."""
    object_id = str(entry.plain["object_id"])
    if str(entry.plain["action"]).startswith(OF_THE_TRAIL) or (is_server and object_id not in erased):
        return {}
    words = _words_about(object_id) if object_id in erased else frozenset()
    return {
        name: new
        for name, value in entry.personal.items()
        if (new := person.pseudonym if name in words else person.without(value)) != value
    }


def _words_about(object_id: str) -> frozenset[str]:
    """Names of what an entry says in words of a mail, or, of a message, in words that somebody put on it."""
    names = {*WORDS_OF_MAIL, "labels"} if object_id.startswith("msg_") else WORDS_OF_MAIL
    return frozenset({"object_name", *(f"{CHANGES}.{name}" for name in names)})
