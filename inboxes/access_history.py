"""Who could get at the mail of an inbox at a moment: keys with their rights, members with their roles.

Today's rows, taken back to that moment by what the trail tells of since: the newest entry is undone first. What was done in the database
itself, or is no longer in the trail, is not seen.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from audit.lookups import within
from audit.models import ACCESS_ACTS, AuditEntry
from inboxes.models import ApiKey, ContentReview, Inbox, Membership
from inboxes.permissions import MESSAGES_READ, MESSAGES_SEND, PRESETS, RIGHTS

MOST_UNDONE = 10_000  # entries that are read for a look into the past
_KEY_FIELDS = ("name", "mode", "permissions", "inbox_ids", "expires_at")


@dataclass(frozen=True, slots=True)
class KeyAccess:
    """A key as it was. Nothing of its secret."""

    id: str
    name: str
    mode: str
    permissions: tuple[str, ...]
    inbox_ids: tuple[str, ...] | None  # None: all of its mode
    expires_at: datetime | None
    issued_at: datetime | None  # None: that is no longer known
    revoked_at: datetime | None = None

    @property
    def preset(self) -> str:
        """The bundle that it has, where it is one of ours."""
        named = (name for name, rights in PRESETS.items() if set(rights) == set(self.permissions))
        return next(named, "")

    @property
    def reads(self) -> bool:
        return MESSAGES_READ in self.permissions

    @property
    def sends(self) -> bool:
        return MESSAGES_SEND in self.permissions

    @property
    def rights(self) -> list[tuple[str, str]]:
        return [(name, RIGHTS.get(name, "")) for name in self.permissions]

    def reaches(self, inbox: Inbox, at: datetime) -> bool:
        is_usable = (self.revoked_at is None or self.revoked_at > at) and (
            self.expires_at is None or self.expires_at > at
        )
        sees = self.mode == inbox.mode and (self.inbox_ids is None or inbox.pk in self.inbox_ids)
        return is_usable and sees and (self.issued_at is None or self.issued_at <= at)


@dataclass(frozen=True, slots=True)
class MemberAccess:
    id: str
    name: str
    role: str


@dataclass(slots=True)
class Access:
    """`is_complete`: whether everything that happened since the moment could be undone."""

    at: datetime
    keys: list[KeyAccess] = field(default_factory=list)
    members: list[MemberAccess] = field(default_factory=list)
    reviews: list[ContentReview] = field(default_factory=list)
    is_complete: bool = True


def access_at(inbox: Inbox, at: datetime) -> Access:
    found = Access(at)
    entries = list(_since(inbox.account_id, at)[: MOST_UNDONE + 1])
    found.is_complete = len(entries) <= MOST_UNDONE
    about_keys = [entry for entry in entries[:MOST_UNDONE] if entry.act.startswith("key.")]
    about_members = [entry for entry in entries[:MOST_UNDONE] if not entry.act.startswith("key.")]
    keys = _undone_keys({key.pk: _key_of(key) for key in _keys(inbox)}, about_keys)
    members = _undone_members({row.pk: _member_of(row) for row in _memberships(inbox)}, about_members)
    found.keys = sorted((key for key in keys.values() if key.reaches(inbox, at)), key=lambda key: key.name.lower())
    found.members = sorted(members.values(), key=_by_role)
    found.reviews = [review for review in _reviews(inbox, at) if review.ended_at is None or review.ended_at > at]
    return found


def _by_role(member: MemberAccess) -> tuple[int, str]:
    roles = Membership.Role.values
    return roles.index(member.role) if member.role in roles else len(roles), member.name.lower()


def _since(account_id: str, at: datetime) -> Any:
    """The newest first. The acts stand in the statement as constants, so that PostgreSQL uses their partial index."""
    rows = AuditEntry.objects.filter(within(since=at), account_id=account_id, timestamp__gt=at, act__in=ACCESS_ACTS)
    columns = ("id", "act", "object_pk", "object_repr", "changes", "timestamp", "public_id", "account_id")
    return rows.order_by("-timestamp", "-public_id").only(*columns)


def _keys(inbox: Inbox) -> Iterable[ApiKey]:
    return ApiKey.objects.filter(account_id=inbox.account_id).defer("digest", "prefix")


def _memberships(inbox: Inbox) -> Iterable[Membership]:
    return Membership.objects.filter(account_id=inbox.account_id).select_related("user")


def _reviews(inbox: Inbox, at: datetime) -> Iterable[ContentReview]:
    rows = ContentReview.objects.filter(account_id=inbox.account_id, inbox_id=inbox.pk)
    return rows.filter(started_at__lte=at, until__gt=at)


def _key_of(key: ApiKey) -> KeyAccess:
    limited = tuple(key.inbox_ids) if key.inbox_ids is not None else None
    told = (key.pk, key.name, key.mode, tuple(key.permissions), limited, key.expires_at, key.created_at, key.revoked_at)
    return KeyAccess(*told)


def _member_of(row: Membership) -> MemberAccess:
    return MemberAccess(row.pk, row.user.get_username(), row.role)


# --- Undoing -----------------------------------------------------------------------------------------------------------


def _undone_keys(keys: dict[str, KeyAccess], entries: Iterable[AuditEntry]) -> dict[str, KeyAccess]:
    for entry in entries:
        id_, old = entry.object_pk, _old_values(entry)
        if entry.act == "key.issued":
            keys.pop(id_, None)
        elif entry.act == "key.deleted":
            keys[id_] = _key_back(id_, entry, old)
        elif entry.act == "key.revoked" and id_ in keys:
            keys[id_] = replace(keys[id_], revoked_at=None)
        elif entry.act == "key.updated" and id_ in keys:
            keys[id_] = replace(keys[id_], **_key_fields(old))
    return keys


def _key_back(id_: str, entry: AuditEntry, old: Mapping[str, Any]) -> KeyAccess:
    """One that is no more, as its last entry has it. When it was issued its own entry says, which is undone next."""
    blank = KeyAccess(id_, entry.object_repr.rpartition(" (")[0], "", (), None, None, None)
    return replace(blank, **_key_fields(old))


def _undone_members(members: dict[str, MemberAccess], entries: Iterable[AuditEntry]) -> dict[str, MemberAccess]:
    for entry in entries:
        id_, old = entry.object_pk, _old_values(entry)
        if entry.act == "membership.created":
            members.pop(id_, None)
        elif entry.act in ("member.removed", "membership.deleted"):
            name = str(old.get("username") or entry.object_repr.rpartition(" in ")[0])
            members[id_] = MemberAccess(id_, name, str(old.get("role") or ""))
        elif id_ in members and "role" in old:
            members[id_] = replace(members[id_], role=str(old["role"] or ""))
    return members


def _old_values(entry: AuditEntry) -> dict[str, Any]:
    """What stood there before; of a value that is no pair, that value."""
    told = entry.changes if isinstance(entry.changes, dict) else {}
    return {name: value[0] if isinstance(value, list) and len(value) == 2 else value for name, value in told.items()}


def _key_fields(old: Mapping[str, Any]) -> dict[str, Any]:
    read = {name: old[name] for name in _KEY_FIELDS if name in old}
    if "permissions" in read:
        read["permissions"] = tuple(map(str, read["permissions"] or ()))
    if "inbox_ids" in read:
        limited = read["inbox_ids"]
        read["inbox_ids"] = tuple(map(str, limited)) if isinstance(limited, list) else None
    if "expires_at" in read:
        read["expires_at"] = _moment(read["expires_at"])
    return read


def _moment(text: Any) -> datetime | None:
    """As django-auditlog writes a time: in UTC, without saying so."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
