"""Changing the lists of addresses: one entry added or removed, or a whole list replaced. How they are weighed is in inboxes.rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auditlog.context import disable_auditlog
from django.db import transaction
from django.db.models import QuerySet

from audit.actors import current
from audit.record import Act, record
from inboxes.models import Account, AddressRule, Inbox
from mailbot.lib.bulk import bulk_insert, bulk_set, new_row

MAX_ENTRIES = 10_000


class ListFull(ValueError):
    """The list has MAX_ENTRIES entries already."""


@dataclass(frozen=True, slots=True)
class AddressList:
    """Which list: of one inbox or, without one, of all inboxes of the account in this mode."""

    account_id: str
    mode: str
    inbox: Inbox | None
    direction: str
    effect: str

    def entries(self) -> QuerySet[AddressRule]:
        return AddressRule.objects.filter(**self._columns())

    def new_entry(self, pattern: str, note: str) -> AddressRule:
        """Not stored yet."""
        return new_row(AddressRule, **self._columns(), pattern=pattern, note=note, created_by=_who())

    def _columns(self) -> dict[str, str | None]:
        return {
            "account_id": self.account_id,
            "mode": self.mode,
            "inbox_id": self.inbox.pk if self.inbox else None,
            "direction": self.direction,
            "effect": self.effect,
        }

    def lock(self) -> None:
        """Changes of an account's lists come one after another: two replacements at once would leave a mixture of both."""
        Account.objects.select_for_update(no_key=True).get(pk=self.account_id)


@dataclass(frozen=True, slots=True)
class Replaced:
    """How many entries the list has now, and how it came to that."""

    entries: int
    added: int
    removed: int


@transaction.atomic
def add_entry(target: AddressList, pattern: str, note: str = "") -> tuple[AddressRule, bool]:
    """`(entry, False)` is the one that was there before, as it is. `pattern` is canonical. Raises ListFull."""
    target.lock()
    if existing := target.entries().filter(pattern=pattern).first():
        return existing, False
    if target.entries().count() >= MAX_ENTRIES:
        raise ListFull(f"This list has {MAX_ENTRIES:,} entries, which is the most.")
    entry = target.new_entry(pattern, note)
    entry.save(force_insert=True)
    return entry, True


@transaction.atomic
def remove_entry(entry: AddressRule) -> None:
    """Safe to repeat."""
    entry.delete()


@transaction.atomic
def replace_list(target: AddressList, entries: Mapping[str, str | None]) -> Replaced:
    """Make these the list: canonical pattern → note, None to leave that of an entry which is there already.

    One entry in the trail for all of it, with every pattern that came or went, and every note that changed.
    """
    target.lock()
    known = {entry.pattern: entry for entry in target.entries()}
    added = [pattern for pattern in entries if pattern not in known]
    removed = [pattern for pattern in known if pattern not in entries]
    with disable_auditlog():
        target.entries().filter(pk__in=[known[pattern].pk for pattern in removed]).delete()
    bulk_insert([target.new_entry(pattern, entries[pattern] or "") for pattern in added])
    notes = _set_notes([(known[pattern], note) for pattern, note in entries.items() if pattern in known])
    if added or removed or notes:
        _record_replaced(target, {"added": added, "removed": removed, **({"notes": notes} if notes else {})})
    return Replaced(len(entries), len(added), len(removed))


def _set_notes(given: list[tuple[AddressRule, str | None]]) -> list[dict[str, str]]:
    """What changed, as the trail has it."""
    changed = [(entry, note) for entry, note in given if note is not None and note != entry.note]
    told = [{"pattern": entry.pattern, "old": entry.note, "new": note} for entry, note in changed]
    for entry, note in changed:
        entry.note = note
    bulk_set([entry for entry, _ in changed], "note")
    return told


def _record_replaced(target: AddressList, changes: dict[str, Any]) -> None:
    about = {"mode": target.mode, "direction": target.direction, "effect": target.effect}
    subject = target.inbox or Account.objects.get(pk=target.account_id)
    inbox_id = target.inbox.pk if target.inbox else ""
    record(Act.LIST_REPLACED, subject, account_id=target.account_id, inbox_id=inbox_id, changes={**about, **changes})


def _who() -> dict[str, str]:
    actor = current().actor
    return {"kind": actor.kind.value, "id": actor.id, "name": actor.name}
