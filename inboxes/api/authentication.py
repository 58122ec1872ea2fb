"""`Authorization: Bearer mb_test_…` → the key, and the actor of all that the request does."""

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from audit.actors import current
from inboxes.keys import actor_of, digest, find_key, note_use
from inboxes.models import ApiKey
from mailbot.api.bad_keys import guard
from mailbot.lib.scope import narrow_to


def authenticated(authorization: str) -> ApiKey | None:
    """The key in an Authorization header; None without one. Raises AuthenticationFailed, or ApiError for who tried too many."""
    if not authorization:
        return None
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise AuthenticationFailed("The Authorization header is not of the form “Bearer <key>”.")
    context, tried = current(), digest(secret.strip())
    guard.check(context.remote_addr, tried)
    key = find_key(secret.strip())
    if key is None:
        guard.note_failure(context.remote_addr)
        raise AuthenticationFailed("This API key is unknown, revoked or expired.")
    guard.note_success(tried)
    context.actor, context.account_id = actor_of(key), key.account_id
    narrow_to([key.account_id], key.inbox_ids)
    note_use(key)
    return key


class ApiKeyAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        key = authenticated(request.headers.get("Authorization", ""))
        return None if key is None else (None, key)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="mailbot"'
