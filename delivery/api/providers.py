"""/v1/providers: who carries the mail of an account on. Of live keys of the whole account only."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from delivery.api.provider_serializers import (
    ProviderBody,
    ProviderPatch,
    ProviderQuery,
    ProviderSerializer,
    ProviderTestBody,
)
from delivery.api.views import REFUSALS, SendingView
from delivery.provider_rows import (
    InvalidProvider,
    NoInbox,
    ProviderRequest,
    change_provider,
    delete_provider,
    draft_of_test,
    inbox_for_test,
    make_provider,
    note_test,
    pause_provider,
    resume_provider,
)
from inboxes.api.views import visible_providers
from inboxes.models import Account, Mode, Provider
from inboxes.permissions import PROVIDERS_MANAGE, PROVIDERS_READ
from mailbot.api.errors import ApiError, Code, invalid, not_found
from mailbot.api.pagination import paginated
from mailbot.api.permissions import Principal
from mailbot.api.schema import described
from mailbot.api.views import TenantView, data
from threads.api.serializers import MessageSerializer


def find_provider(key: Principal, provider_id: str) -> Provider:
    """One that the key may see. Raises 404."""
    provider = visible_providers(key).filter(pk=provider_id).first()
    if provider is None:
        raise not_found()
    return provider


class ProviderScopedView(TenantView):
    def get_provider(self, provider_id: str) -> Provider:
        return find_provider(self.key, provider_id)

    def with_fallback(self, body: dict[str, Any]) -> dict[str, Any]:
        """`fallback_id` as the row that it names."""
        if "fallback_id" in body:
            named = body.pop("fallback_id")
            body["fallback"] = None if named is None else self.get_provider(named)
        return body

    def represent(self, provider: Provider | list[Provider]) -> Any:
        return ProviderSerializer(provider, many=isinstance(provider, list), context={"key": self.key}).data


def cannot_be_kept(error: InvalidProvider) -> ApiError:
    name, why = next(iter(error.fields.items()))
    fields = {field: [reason] for field, reason in error.fields.items()}
    fix = "Correct the fields that are named; docs/providers says what the ESP wants."
    return ApiError(Code.INVALID_REQUEST, f"{name} {why}", fix=fix, fields=fields)


class ProvidersView(ProviderScopedView):
    """POST|GET /providers"""

    needs = {"POST": PROVIDERS_MANAGE, "GET": PROVIDERS_READ}

    @described("Make a provider", body=ProviderBody, answer=ProviderSerializer, status=201, errors=(Code.NOT_FOUND,))
    def post(self, request: Request) -> Response:
        """Its credentials are encrypted and never answered. A default takes the place of the one before it. Nothing is asked of the ESP:
        send a test mail for that."""
        body = self.with_fallback(self.body(ProviderBody, request))
        self._refuse_who_has_none()
        try:
            provider = make_provider(Account.objects.get(pk=self.key.account_id), ProviderRequest(**body))
        except InvalidProvider as error:
            raise cannot_be_kept(error) from error
        return data(self.represent(provider), status=201)

    def _refuse_who_has_none(self) -> None:
        if self.key.mode != Mode.LIVE:
            message = "What a test key sends never reaches a provider, so it has none."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a live key.")
        if self.key.inbox_ids is not None:
            message = "This key is limited to some inboxes; providers are of the whole account."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a key of the whole account.")

    @described("List providers", query=ProviderQuery, answer=ProviderSerializer, many=True)
    def get(self, request: Request) -> Response:
        """Those of the account, newest first; not those that the server shares. A test key has none, nor has one of some inboxes."""
        query = self.query(ProviderQuery)
        rows = visible_providers(self.key)
        return paginated(rows.filter(esp=query["esp"]) if query.get("esp") else rows, query, self.represent)


class ProviderView(ProviderScopedView):
    """GET|PATCH|DELETE /providers/{provider_id}"""

    needs = {"GET": PROVIDERS_READ, "PATCH": PROVIDERS_MANAGE, "DELETE": PROVIDERS_MANAGE}

    @described("Read a provider", answer=ProviderSerializer)
    def get(self, request: Request, provider_id: str) -> Response:
        return data(self.represent(self.get_provider(provider_id)))

    @described("Change a provider", body=ProviderPatch, answer=ProviderSerializer)
    def patch(self, request: Request, provider_id: str) -> Response:
        """What is left out stays as it is, also among the credentials. While it is paused its mail waits."""
        provider = self.get_provider(provider_id)
        changes = self.with_fallback(self.body(ProviderPatch, request))
        is_paused, reason = changes.pop("is_paused", None), changes.pop("reason", "")
        try:
            provider = change_provider(provider, changes) if changes else provider
        except InvalidProvider as error:
            raise cannot_be_kept(error) from error
        if is_paused is not None:
            (pause_provider if is_paused else resume_provider)(provider, reason)
        return data(self.represent(provider))

    @described("Delete a provider", answer=ProviderSerializer)
    def delete(self, request: Request, provider_id: str) -> Response:
        """Its inboxes go on with the default. The answer is what it was."""
        provider = self.get_provider(provider_id)
        answer = data(self.represent(provider))
        delete_provider(provider)
        return answer


class ProviderTestView(SendingView):
    """POST /providers/{provider_id}/test"""

    needs = PROVIDERS_MANAGE

    @described(
        "Send a test mail through a provider",
        body=ProviderTestBody,
        answer=MessageSerializer,
        status=202,
        errors=REFUSALS,
        name="test_provider",
    )
    def post(self, request: Request, provider_id: str) -> Response:
        """An ordinary mail that leaves through exactly this provider, from `inbox_id` or the account's newest live inbox. Its `status`
        shows what became of it."""
        provider = find_provider(self.key, provider_id)
        body = self.body(ProviderTestBody, request)
        try:
            inbox = self.get_inbox(body["inbox_id"]) if "inbox_id" in body else inbox_for_test(provider)
        except NoInbox as error:
            raise invalid("inbox_id", str(error), "Make a live inbox, or name one in inbox_id.") from error
        answer = self.accepted(inbox, draft_of_test(provider, body["to"].address))
        note_test(provider, inbox, body["to"].address)
        return answer
