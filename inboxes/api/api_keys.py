"""/v1/api-keys: what a key may do with the keys of its account and mode."""

from typing import Any, ClassVar, cast

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework.response import Response

from inboxes.api.api_key_serializers import (
    ApiKeyBody,
    ApiKeyPatch,
    ApiKeyQuery,
    ApiKeySerializer,
    NewApiKeySerializer,
)
from inboxes.api.views import visible_inboxes
from inboxes.granting import CannotGrant, Grant, check_grant
from inboxes.keys import KeyRevoked, change_key, issue_key, revoke_key
from inboxes.models import ApiKey
from inboxes.permissions import KEYS_MANAGE, KEYS_READ
from mailbot.api.errors import ApiError, Code, not_found
from mailbot.api.pagination import paginated
from mailbot.api.permissions import Principal
from mailbot.api.schema import described
from mailbot.api.views import TenantView, data


def visible_keys(key: Principal) -> QuerySet[ApiKey]:
    """The keys that a key may see: of its account and mode; where it is limited to inboxes, those that see no others."""
    rows = ApiKey.objects.filter(account_id=key.account_id, mode=key.mode)
    return rows if key.inbox_ids is None else rows.limited_to(key.inbox_ids)


class KeyManagingView(TenantView):
    @property
    def granter(self) -> ApiKey:
        return cast(ApiKey, self.key)

    def within_reach(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """`wanted` with what null means for the calling key: all inboxes that it has itself, and its own end.

        Raises not_found for an inbox that it does not see, as for one that does not exist.
        """
        if "inbox_ids" in wanted:
            ids = wanted["inbox_ids"]
            if ids is None:
                wanted["inbox_ids"] = self.granter.inbox_ids
            elif visible_inboxes(self.key).filter(pk__in=ids).count() != len(ids):
                raise not_found()
        if "expires_at" in wanted and wanted["expires_at"] is None:
            wanted["expires_at"] = self.granter.expires_at
        return wanted

    def represent(self, key: ApiKey | list[ApiKey]) -> Any:
        return ApiKeySerializer(key, many=isinstance(key, list)).data


def refused(error: CannotGrant) -> ApiError:
    return ApiError(Code.FORBIDDEN, str(error), fix=error.fix, fields={error.field: [str(error)]})


class ApiKeysView(KeyManagingView):
    """POST|GET /api-keys"""

    needs = {"POST": KEYS_MANAGE, "GET": KEYS_READ}
    # What keeps answers, to repeat them, keeps them without this.
    shown_once: ClassVar[frozenset[str]] = frozenset({"secret"})

    @described(
        "Make an API key",
        body=ApiKeyBody,
        answer=NewApiKeySerializer,
        status=201,
        errors=(Code.NOT_FOUND,),
    )
    @sensitive_variables("secret")
    def post(self, request: Request) -> Response:
        """The secret is in this answer and nowhere else. A key gives no right, inbox or time that it lacks (403), and only makes keys of
        its own mode (403)."""
        body = self.body(ApiKeyBody, request)
        if body.pop("mode", self.key.mode) != self.key.mode:
            message = f"A {self.key.mode} key makes {self.key.mode} keys only."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a key of that mode, or the console.")
        wanted = self.within_reach({"inbox_ids": None, "expires_at": None, **body})
        try:
            check_grant(self.granter, Grant(wanted["permissions"], wanted["inbox_ids"], wanted["expires_at"]))
        except CannotGrant as error:
            raise refused(error) from error
        with transaction.atomic():
            key, secret = issue_key(account=self.granter.account, mode=self.key.mode, **wanted)
        return data(NewApiKeySerializer(key, context={"secret": secret}).data, status=201)

    @described("List API keys", query=ApiKeyQuery, answer=ApiKeySerializer, many=True)
    def get(self, request: Request) -> Response:
        """Newest first, without secrets: those of the calling key's account and mode and, where it is limited to inboxes, those that see
        no others."""
        query = self.query(ApiKeyQuery)
        keys = visible_keys(self.key)
        if status := query.get("status"):
            keys = keys.in_status(status, timezone.now())  # type: ignore[attr-defined]
        return paginated(keys, query, self.represent)


class ApiKeyView(KeyManagingView):
    """GET|PATCH|DELETE /api-keys/{key_id}"""

    needs = {"GET": KEYS_READ, "PATCH": KEYS_MANAGE, "DELETE": KEYS_MANAGE}

    def get_key(self, key_id: str) -> ApiKey:
        key = visible_keys(self.key).filter(pk=key_id).first()
        if key is None:
            raise not_found()
        return key

    @described("Get an API key", answer=ApiKeySerializer)
    def get(self, request: Request, key_id: str) -> Response:
        return data(self.represent(self.get_key(key_id)))

    @described("Change an API key", body=ApiKeyPatch, answer=ApiKeySerializer, errors=(Code.GONE,))
    def patch(self, request: Request, key_id: str) -> Response:
        """Effective on the key's next request. What comes out must be a key that the calling key could make (403). 410 for a key that is
        revoked."""
        changes = self.body(ApiKeyPatch, request)
        key = self.get_key(key_id)
        if changes:
            key = self.changed(key_id, self.within_reach(changes))
        return data(self.represent(key))

    def changed(self, key_id: str, changes: dict[str, Any]) -> ApiKey:
        try:
            key = change_key(visible_keys(self.key), key_id, changes, self.granter)
        except CannotGrant as error:
            raise refused(error) from error
        except KeyRevoked as error:
            raise ApiError(Code.GONE, "This key is revoked.", fix="Make a new one.") from error
        if key is None:
            raise not_found()
        return key

    @described("Revoke an API key", answer=ApiKeySerializer)
    def delete(self, request: Request, key_id: str) -> Response:
        """Effective on the key's next request, for good; the key stays in the list. Safe to repeat."""
        return data(self.represent(revoke_key(self.get_key(key_id))))
