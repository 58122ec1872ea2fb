"""API keys: made, recognised, revoked."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from audit.actors import Actor, ActorKind
from audit.record import Act, record
from inboxes.models import Account, ApiKey, Inbox, Mode
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
    inbox: Inbox | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its secret, which is returned here once and kept nowhere.

    160 random bits need no slow hash: nobody can try them all, and PBKDF2 would cost each request 200 ms.
    """
    secret = f"mb_{mode}_{base64.b32encode(secrets.token_bytes(KEY_BYTES)).decode().lower()}"
    key = ApiKey.objects.create(
        account=account,
        name=name,
        mode=mode,
        permissions=list(permissions),
        inbox=inbox,
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
        key = ApiKey.objects.filter(digest=wanted).select_related("account").first()
    if key is None or not hmac.compare_digest(key.digest, wanted) or not key.is_usable(timezone.now()):
        return None
    return key


def note_use(key: ApiKey) -> None:
    """Remember when a key was last used, to the minute: a write for each read would cost more than the read."""
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > USE_IS_NOTED_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


def revoke_key(key: ApiKey) -> None:
    """Effective on the next request. Safe to repeat."""
    now = timezone.now()
    if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now):
        key.revoked_at = now
        record(Act.KEY_REVOKED, key, account_id=key.account_id, inbox_id=key.inbox_id or "")


def actor_of(key: ApiKey) -> Actor:
    return Actor(ActorKind.API_KEY, key.pk, key.name)
