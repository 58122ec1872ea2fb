"""API keys: made, recognised, changed, revoked."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit.actors import Actor, ActorKind
from audit.record import Act, record
from inboxes.granting import Grant, check_grant
from inboxes.models import Account, ApiKey, Mode
from inboxes.permissions import FULL
from mailbot.lib.scope import acting_for_everybody

KEY_BYTES = 20
SHOWN = len("mb_test_") + 4
USE_IS_NOTED_EVERY = timedelta(minutes=1)


def issue_key(
    *,
    account: Account,
    name: str,
    mode: str = Mode.TEST,
    permissions: Sequence[str] = FULL,
    inbox_ids: Sequence[str] | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its secret, which is returned here once and kept nowhere.

    `inbox_ids`: None for all inboxes of the account in this mode, a list for those only. Whether whoever asks may give what the key
    will have is asked before, by `inboxes.granting`.

    160 random bits need no slow hash: nobody can try them all, and PBKDF2 would cost each request 200 ms.
    """
    secret = f"mb_{mode}_{base64.b32encode(secrets.token_bytes(KEY_BYTES)).decode().lower()}"
    key = ApiKey.objects.create(
        account=account,
        name=name,
        mode=mode,
        permissions=list(permissions),
        inbox_ids=None if inbox_ids is None else list(inbox_ids),
        expires_at=expires_at,
        prefix=secret[:SHOWN],
        digest=digest(secret),
    )
    return key, secret


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def find_key(secret: str) -> ApiKey | None:
    """The usable key with this secret, or None: unknown, revoked and expired look the same from outside."""
    wanted = digest(secret)
    with acting_for_everybody("who is calling"):
        key = ApiKey.objects.filter(digest=wanted).first()
    if key is None or not hmac.compare_digest(key.digest, wanted) or not key.is_usable(timezone.now()):
        return None
    return key


def note_use(key: ApiKey) -> None:
    """Remember when a key was last used, to the minute: a write for each read would cost more than the read."""
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > USE_IS_NOTED_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


class KeyRevoked(Exception):
    """It is over for good: what it may do cannot be changed any more."""


def change_key(keys: QuerySet[ApiKey], key_id: str, changes: dict[str, Any], granter: ApiKey) -> ApiKey | None:
    """Set name, permissions, inbox_ids, expires_at of one of `keys`; None when it is not among them.

    What comes out must be a key that `granter` could make: else one could take hold of a key that may do more. The row is locked, so
    that two changes do not add up to what neither may give. Raises KeyRevoked and inboxes.granting.CannotGrant.
    """
    with transaction.atomic():
        key = keys.select_for_update().filter(pk=key_id).first()
        if key is None:
            return None
        if key.revoked_at is not None:
            raise KeyRevoked
        for name, value in changes.items():
            setattr(key, name, value)
        check_grant(granter, Grant(key.permissions, key.inbox_ids, key.expires_at))
        key.save(update_fields=list(changes))
    return key


@transaction.atomic
def revoke_key(key: ApiKey, reason: str = "") -> ApiKey:
    """Effective on the next request. Safe to repeat: the first moment stays."""
    now = timezone.now()
    if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now):
        key.revoked_at = now
        changes = {"reason": reason} if reason else {}
        record(Act.KEY_REVOKED, key, account_id=key.account_id, inbox_id=key.sole_inbox_id or "", changes=changes)
    else:
        key.refresh_from_db(fields=["revoked_at"])
    return key


def actor_of(key: ApiKey) -> Actor:
    return Actor(ActorKind.API_KEY, key.pk, key.name, key.mode)
