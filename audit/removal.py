"""The one way by which something leaves the trail, for retention and for the erasure of a person. Nothing else may (audit.append_only).

Both functions write an entry of their own, in the same transaction, that says by sequence numbers what is gone. The leaves stay, and with
them every proof: of an entry that was removed its hash is left, of a value that was replaced the commitment, whose salt is gone.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.db import connection, transaction

from audit.append_only import REMOVAL, letting_through
from audit.leaves import CHANGES, PERSONAL, SALT_OCTETS, Replacement, Salts, Told, commitment, commitments
from audit.lookups import entries_by_key, rows_of
from audit.models import AuditLeaf
from audit.record import Act, record
from audit.records import RECORDS
from mailbot.lib.bulk import places
from mailbot.lib.scope import acting_for_everybody

OF_THE_TRAIL = "trail."  # acts that say what was done to it: none of them leaves, and of RECORDS no value either
AS_SEALED = "An entry is not as it was sealed."
MOST = 1000  # entries at once: SQLite lets nobody else write meanwhile

Values = Mapping[str, Any]


class NotRemovable(Exception):
    """One of these is not in the tree or not in the trail any more, or is one that stays. Of values also: the entry has none of that name,
    or its leaf no salt that opens it. Whether an entry is as it was sealed is not asked here but by audit.verifying."""


def remove_entries(
    account_id: str, seqs: Iterable[int], *, reason: str, inbox_id: str = "", about: Mapping[str, Any] | None = None
) -> str:
    """Take entries out of the trail for good; at most MOST of them. The public id of the entry that says so, with `about` beside.

    Raises NotRemovable. Retention has to ask first whether a legal hold stands against it.
    """
    with transaction.atomic(), acting_for_everybody("what leaves the trail"):
        leaves = _leaves(account_id, set(seqs))
        _refuse(OF_THE_TRAIL, leaves)
        said: dict[str, Any] = {"reason": reason, "removed": _ranges(sorted(leaf.seq for leaf in leaves))}
        said |= about or {}
        entry = record(Act.TRAIL_REMOVED, None, account_id=account_id, inbox_id=inbox_id, changes=said)
        _remove(account_id, entry.public_id, [leaf.entry_id for leaf in leaves])
        return str(entry.public_id)


def replace_values(account_id: str, values: Mapping[int, Values], *, reason: str) -> str:
    """Put other values in place of personal ones, by sequence number and the names of `audit.leaves` (`actor_name`, `changes.to`): for each
    a pseudonym or nothing. At most MOST entries. The public id of the entry that says so. Raises NotRemovable.
    """
    with transaction.atomic(), acting_for_everybody("what leaves the trail"):
        leaves = _leaves(account_id, set(values))
        _refuse(RECORDS, leaves)
        told = entries_by_key([leaf.entry_id for leaf in leaves])
        replaced = [_replaced(leaf, told[leaf.entry_id], values[leaf.seq]) for leaf in leaves]
        said = [[one.seq, name, new] for one in replaced for name, new in one.commitments]
        entry = record(Act.TRAIL_REPLACED, None, account_id=account_id, changes={"reason": reason, "replaced": said})
        for one in replaced:
            _replace(account_id, entry.public_id, one)
        return str(entry.public_id)


class _Replaced:
    """An entry as it is to be."""

    def __init__(self, leaf: AuditLeaf, told: Told, salts: Salts, values: Values) -> None:
        self.seq, self.key = leaf.seq, leaf.entry_id
        # What stays is what was sealed, also where a change says nothing or an empty text.
        both = {**told.personal, **values}.items()
        self.personal = {name: value for name, value in both if name not in values or value not in (None, "")}
        original = commitments(told, salts)
        new = {name: Replacement(bytes.fromhex(original[name]), secrets.token_bytes(SALT_OCTETS)) for name in values}
        still = [name for name in told.personal if name not in salts.replaced and name not in values]
        self.salts = Salts(None, {name: _known(salts.of(name)) for name in still}, {**salts.replaced, **new})
        self.commitments = [
            (name, commitment(new[name].salt, self.personal.get(name)).hex()) for name in sorted(values)
        ]

    def columns(self) -> dict[str, Any]:
        """All that can hold something of a person."""
        told = {column: self.personal.get(name) for name, column in PERSONAL.items()}
        told |= {"object_repr": told["object_repr"] or "", "changes_text": told["changes_text"] or ""}
        told["actor_name"] = told["actor_name"] or ""
        prefix = f"{CHANGES}."
        changes = {name[len(prefix) :]: value for name, value in self.personal.items() if name.startswith(prefix)}
        return {**told, CHANGES: changes}


def _known(salt: bytes | None) -> bytes:
    if salt is None:
        raise NotRemovable(AS_SEALED)
    return salt


def _replaced(leaf: AuditLeaf, told: Told, values: Values) -> _Replaced:
    if (salts := Salts.stored(leaf.salt, leaf.kept)) is None:
        raise NotRemovable(AS_SEALED)
    if unknown := [name for name in values if name not in told.personal]:
        raise NotRemovable(f"Entry {leaf.seq} has no {', '.join(sorted(unknown))}.")
    return _Replaced(leaf, told, salts, values)


def _leaves(account_id: str, seqs: set[int]) -> list[AuditLeaf]:
    if len(seqs) > MOST:
        raise NotRemovable(f"At most {MOST} entries at once.")
    leaves = list(AuditLeaf.objects.filter(account_id=account_id, seq__in=seqs).order_by("seq"))
    if len(leaves) != len(seqs):
        raise NotRemovable("Only entries that have their place in the tree can leave the trail.")
    return leaves


def _refuse(beginnings: str | tuple[str, ...], leaves: list[AuditLeaf]) -> None:
    """Where an act begins so."""
    acts = dict(rows_of([leaf.entry_id for leaf in leaves], "pk", "act"))
    if len(acts) != len(leaves):
        raise NotRemovable("One of them is not in the trail any more.")
    if any(act.startswith(beginnings) for act in acts.values()):
        raise NotRemovable("What the trail says of itself stays.")


def _ranges(seqs: list[int]) -> list[list[int]]:
    return list(_runs(seqs))


def _runs(seqs: list[int]) -> Iterator[list[int]]:
    first = last = None
    for seq in seqs:
        if last is not None and seq == last + 1:
            last = seq
            continue
        if first is not None:
            yield [first, last]  # type: ignore[list-item]
        first = last = seq
    if first is not None:
        yield [first, last]  # type: ignore[list-item]


def _remove(account_id: str, record_id: str, keys: list[int]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT mailbot_audit_remove(%s, %s, %s)", [account_id, record_id, keys])
            (gone,) = cursor.fetchone()
        else:
            with letting_through(REMOVAL, connection):
                cursor.execute(f"DELETE FROM audit_auditentry WHERE id IN {places(len(keys))}", keys)  # noqa: S608 (placeholders)
            gone = cursor.rowcount
    if gone != len(keys):
        raise NotRemovable("One of them is not in the trail any more.")


def _replace(account_id: str, record_id: str, one: _Replaced) -> None:
    columns, kept = one.columns(), json.dumps(one.salts.as_json())
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            given: list[Any] = [account_id, record_id, one.key, json.dumps(columns), kept]
            cursor.execute("SELECT mailbot_audit_replace(%s, %s, %s, %s::jsonb, %s::jsonb)", given)
            (touched,) = cursor.fetchone()
        else:
            touched = _replace_on_sqlite(cursor, one.key, columns, kept)
    if touched != 1:
        raise NotRemovable("One of them is not in the trail any more.")


def _replace_on_sqlite(cursor: Any, key: int, columns: dict[str, Any], kept: str) -> int:
    in_json = ("serialized_data", "additional_data", CHANGES)
    values = {
        name: json.dumps(value) if name in in_json and value is not None else value for name, value in columns.items()
    }
    names = ", ".join(f"{name} = %s" for name in values)
    given: list[Any] = [*values.values(), key]
    with letting_through(REMOVAL, connection):
        cursor.execute(f"UPDATE audit_auditentry SET {names} WHERE id = %s", given)  # noqa: S608 (our names)
        touched = int(cursor.rowcount)
        cursor.execute("UPDATE audit_auditleaf SET salt = NULL, kept = %s WHERE entry_id = %s", [kept, key])
    return touched
