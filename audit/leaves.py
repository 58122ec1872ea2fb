"""What of an entry is a leaf of the tree, octet for octet: docs/audit/format.md says the same for whoever writes a verifier.

What can name a person enters a leaf as a commitment: SHA-256 over a salt and the value. The salts of an entry's fields come out of one
random salt of the entry, so that each can be told by itself. Where a value has been replaced since (audit.removal) the commitment of the
original is kept, its salt is gone, and nobody can try out what it was.
"""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from audit.canonical import canonical
from audit.merkle import leaf_hash

FORMAT = "mailbot.audit/1"
SALT_OCTETS = 32

# Name in a leaf → column of AuditEntry. Every column is in one of the two, but for the key `id`, which means nothing elsewhere.
PLAIN = {
    "id": "public_id",
    "time": "timestamp",
    "account_id": "account_id",
    "inbox_id": "inbox_id",
    "mode": "mode",
    "action": "act",
    "operation": "action",
    "object_type": "object_type",
    "object_id": "object_pk",
    "object_number": "object_id",
    "content_type": "content_type_id",
    "actor_kind": "actor_kind",
    "actor_id": "actor_id",
    "request_id": "cid",
    "remote_port": "remote_port",
}
PERSONAL = {
    "actor_name": "actor_name",
    "actor_email": "actor_email",
    "remote_addr": "remote_addr",
    "object_name": "object_repr",
    "object_data": "serialized_data",
    "details": "additional_data",
    "changes_text": "changes_text",
}
CHANGES = "changes"  # each of its names is a field of its own: changes.<name>
COLUMNS = ("id", *PLAIN.values(), *PERSONAL.values(), CHANGES)
_PLAIN, _PERSONAL = len(PLAIN) + 1, len(PLAIN) + 1 + len(PERSONAL)


@dataclass(frozen=True, slots=True)
class Told:
    """An entry as a leaf tells of it. `key` is that of its row."""

    key: int
    plain: dict[str, Any]
    personal: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.plain["id"])

    @property
    def account_id(self) -> str:
        return str(self.plain["account_id"])

    def shown(self) -> dict[str, Any]:
        """All of it in one object, as an export has it."""
        told = {name: value for name, value in self.personal.items() if not name.startswith(f"{CHANGES}.")}
        changes = {name.partition(".")[2]: value for name, value in self.personal.items() if name not in told}
        return {**self.plain, **told, CHANGES: changes}


class Replacement(NamedTuple):
    """Of a value that stands in for another: the original's commitment, and the salt of the new one's."""

    original: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Salts:
    """What opens the commitments of an entry: one salt for all, or those of the fields that are still as they were."""

    of_entry: bytes | None = None
    by_name: Mapping[str, bytes] = field(default_factory=dict)
    replaced: Mapping[str, Replacement] = field(default_factory=dict)

    def of(self, name: str) -> bytes | None:
        return field_salt(self.of_entry, name) if self.of_entry else self.by_name.get(name)

    def as_json(self) -> dict[str, Any]:
        if self.of_entry:
            return {"salt": self.of_entry.hex()}
        replaced = {
            name: {"commitment": one.original.hex(), "salt": one.salt.hex()} for name, one in self.replaced.items()
        }
        return {"salts": {name: salt.hex() for name, salt in self.by_name.items()}, "replaced": replaced}

    @classmethod
    def stored(cls, of_entry: bytes | memoryview | None, kept: Mapping[str, Any] | None) -> "Salts | None":
        """Out of the columns of a leaf. None where nothing of ours is stored: then somebody has tampered with it."""
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            if not kept:
                return cls(bytes(of_entry) if of_entry else None)
            by_name = {name: bytes.fromhex(salt) for name, salt in kept["salts"].items()}
            replaced = {
                name: Replacement(bytes.fromhex(one["commitment"]), bytes.fromhex(one["salt"]))
                for name, one in kept["replaced"].items()
            }
            return cls(None, by_name, replaced)
        return None


def told_of(row: Sequence[Any]) -> Told:
    """Out of the values of COLUMNS."""
    plain = dict(zip(PLAIN, row[1:_PLAIN], strict=True))
    plain["time"] = moment(plain["time"])
    # Nothing and an empty text say the same, and hide nothing.
    values = zip(PERSONAL, row[_PLAIN:_PERSONAL], strict=True)
    personal = {name: value for name, value in values if value is not None and value != ""}
    personal.update(_changes(row[_PERSONAL]))
    return Told(row[0], plain, personal)


def _changes(changes: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(changes, Mapping):
        yield from ((f"{CHANGES}.{name}", value) for name, value in changes.items())
    elif changes is not None:
        yield f"{CHANGES}.", changes


def moment(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def field_salt(salt: bytes, name: str) -> bytes:
    return hmac.digest(salt, name.encode("utf-8", "surrogatepass"), "sha256")


def commitment(salt: bytes, value: Any) -> bytes:
    return sha256(b"\x02" + salt + canonical(value)).digest()


def commitments(told: Told, salts: Salts) -> dict[str, str]:
    """By name. A field without a salt has come in since: an empty one makes the leaf another than the sealed one."""
    made = {}
    for name, value in told.personal.items():
        if name not in salts.replaced:
            salt = salts.of(name)
            made[name] = commitment(salt, value).hex() if salt is not None else ""
    return made | {name: one.original.hex() for name, one in salts.replaced.items()}


def unplaced(told: Told, salts: Salts) -> bytes:
    """The leaf but for its place: what hashing takes most time for can be done before the place is known."""
    whole = {"commitments": commitments(told, salts), "entry": told.plain, "format": FORMAT}
    return canonical(whole)[:-1]


def placed(content: bytes, seq: int) -> bytes:
    """The octets of the leaf at `seq`; "seq" is the last of the names in their order."""
    return b'%b,"seq":%d}' % (content, seq)


def hash_at(content: bytes, seq: int) -> bytes:
    return leaf_hash(placed(content, seq))
