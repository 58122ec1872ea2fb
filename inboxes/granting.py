"""What a key may give to another key: never more than it has, so that no chain of keys leads to what its first one could not do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from inboxes.models import ApiKey


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key is to have. `inbox_ids` and `expires_at` None: all inboxes, no end."""

    permissions: Sequence[str]
    inbox_ids: Sequence[str] | None
    expires_at: datetime | None


class CannotGrant(Exception):
    """The granting key does not have it itself. `field` is what is too wide."""

    def __init__(self, field: str, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.field, self.fix = field, fix


def check_grant(granter: ApiKey, grant: Grant) -> None:
    """Raises CannotGrant when the grant has more rights, more inboxes or more time than the granting key. Modes are never mixed:
    whoever calls this stays within the granter's own."""
    if lacking := [right for right in grant.permissions if right not in granter.permissions]:
        reason = f"Your key lacks “{'”, “'.join(lacking)}” and cannot give it."
        raise CannotGrant("permissions", reason, "Leave it out, or use a key that has it.")
    if not _within(grant.inbox_ids, granter.inbox_ids):
        reason = "Your key is limited to some inboxes and cannot give more than these."
        raise CannotGrant("inbox_ids", reason, "Name inboxes that your key sees, or use a key of the whole account.")
    if granter.expires_at is not None and (grant.expires_at is None or grant.expires_at > granter.expires_at):
        reason = "Your key expires before that, and cannot give more time than it has."
        raise CannotGrant("expires_at", reason, "Give an earlier time, or use a key that lasts longer.")


def _within(wanted: Sequence[str] | None, own: Sequence[str] | None) -> bool:
    if own is None:
        return True
    return wanted is not None and set(wanted) <= set(own)
