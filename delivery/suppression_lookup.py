"""Which recipients get no more mail of an inbox: asked when a mail is queued, and again when it is handed over."""

from collections.abc import Collection, Iterable, Mapping

from delivery.suppression_model import Scope, Suppression, digest_of, erased_digests
from inboxes.models import Inbox
from mailbot.lib.addresses import comparable

MOST_AT_ONCE = 5_000  # digests in a statement
# Whose word is shown where several stop the same mail.
NEAREST_FIRST = (Scope.INBOX, Scope.DOMAIN, Scope.ACCOUNT)


def suppressed_among(inbox: Inbox, addresses: Iterable[str]) -> dict[str, Suppression]:
    """By address as it was given, the entry that stops mail of this inbox to it."""
    return find_suppressed({inbox: set(addresses)}).get(inbox.pk, {})


def find_suppressed(wanted: Mapping[Inbox, Collection[str]]) -> dict[str, dict[str, Suppression]]:
    """The same for a batch, by inbox id: one query by a unique column. For each address three values, and as many for each key: entries
    of erased persons."""
    digests: dict[str, list[tuple[str, str]]] = {}
    for inbox, addresses in wanted.items():
        for address in addresses:
            for digest in digests_of(inbox, address):
                digests.setdefault(digest, []).append((inbox.pk, address))
    found: dict[str, dict[str, Suppression]] = {}
    for entry in _in_force(list(digests)):
        for inbox_id, address in digests[entry.digest]:
            theirs = found.setdefault(inbox_id, {})
            theirs[address] = _nearer(theirs.get(address), entry)
    return found


def digests_of(inbox: Inbox, address: str) -> list[str]:
    whose, known = (inbox.account_id, inbox.mode), comparable(address)
    plain = [
        digest_of(*whose, known, inbox_id=inbox.pk),
        digest_of(*whose, known, domain=inbox.domain),
        digest_of(*whose, known),
    ]
    return plain + [keyed for digest in plain for keyed in erased_digests(digest)]


def _in_force(digests: list[str]) -> list[Suppression]:
    rows: list[Suppression] = []
    for start in range(0, len(digests), MOST_AT_ONCE):
        rows += Suppression.objects.in_force().filter(digest__in=digests[start : start + MOST_AT_ONCE])
    return rows


def _nearer(one: Suppression | None, other: Suppression) -> Suppression:
    return other if one is None else min(one, other, key=lambda entry: NEAREST_FIRST.index(entry.scope))
