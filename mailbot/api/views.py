"""The base of every view of /v1."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, ClassVar, TypeVar, cast

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, QueryDict
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from mailbot.api.errors import MOST_NAMED, not_found, unknown_fields
from mailbot.api.idempotency import Call, call_of, carry_out, in_one_transaction
from mailbot.api.json_types import wrong_types
from mailbot.api.permissions import Principal
from mailbot.api.rate_limits import CallCount, count_call
from mailbot.lib.ids import ID_LENGTH

Row = TypeVar("Row", bound=Model)


class StrictSerializer(serializers.Serializer[Any]):
    """A body in which an unknown name is an error that names the nearest known one, and a value of another type is one too."""

    unknown_is: ClassVar[str] = "field"

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := unknown_fields(data, self.fields, self.unknown_is)):
            raise serializers.ValidationError(unknown)
        if isinstance(data, Mapping) and (wrong := wrong_types(dict(data), self.fields)):
            raise serializers.ValidationError(wrong)
        return super().to_internal_value(data)


class Nothing(serializers.Serializer[Any]):
    """The query or body of a method that reads none."""


def data(value: Any, status: int = 200) -> Response:
    """One object in the envelope."""
    return Response({"data": value}, status=status)


def read_query(parameters: Mapping[str, str], serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """The query, validated. An empty parameter counts as absent: a client writes None that way."""
    given = {name: value for name, value in parameters.items() if value != ""}
    reader = _reader(serializer)
    if unknown := unknown_fields(given, reader.fields, "query parameter"):
        raise serializers.ValidationError(unknown)
    return cast(dict[str, Any], reader.run_validation(given))


@cache
def _reader(serializer: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """Made once: to copy its fields for each request takes longer than to read the query. Validation leaves nothing behind in it."""
    return serializer()


def once(parameters: QueryDict) -> dict[str, str]:
    """The query as a plain mapping. Of a parameter that is given twice, nobody could say which one counts."""
    repeated = [name for name, values in parameters.lists() if len(values) > 1]
    if repeated:
        raise serializers.ValidationError({name[:100]: ["This is given twice."] for name in repeated[:MOST_NAMED]})
    return parameters.dict()  # type: ignore[return-value]


def is_plain_id(value: str) -> bool:
    """Whether an id in a path can be looked up at all: PostgreSQL raises on a NUL, and no id of ours is long or odd."""
    return len(value) <= ID_LENGTH and value.isascii() and value.replace("_", "").isalnum()


class TenantView(APIView):
    """A view that acts for one account: all it may touch comes out of `scoped`."""

    needs: ClassVar[str | dict[str, str]]
    count = CallCount({})
    """What is left of the rates that hold for this call; see mailbot.api.rate_limits."""
    commits_itself: ClassVar[bool] = False
    """Whether `post` itself keeps the answer to a `call` where it commits. All others run in a transaction if there is one."""
    shown_once: ClassVar[frozenset[str]] = frozenset()
    """Names in `data` of what a `post` answers that are kept nowhere, such as a secret: a repeated request is answered with null there."""
    call: Call | None = None
    """What a POST with an Idempotency-Key asks for."""

    @property
    def key(self) -> Principal:
        return cast(Principal, self.request.auth)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """DRF takes a body without a Content-Length (chunked) for none at all, and would do half of what was asked."""
        if "CONTENT_LENGTH" not in request.META and request.headers.get("Transfer-Encoding"):
            request.META["CONTENT_LENGTH"] = str(len(request.body))
        return super().initialize_request(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> None:
        """Each call of a key counts, whatever comes of it."""
        super().perform_authentication(request)
        if request.auth is not None:
            self.count = count_call(self.key)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        for name, value in self.count.headers.items():
            response[name] = value
        return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not all(is_plain_id(value) for value in kwargs.values()):
            raise not_found()
        self._refuse_what_nobody_reads(request)
        if request.method == "POST" and (post := getattr(self, "post", None)):
            # As Django's own View.setup gives an instance its `head`.
            self.__dict__["post"] = partial(self._post_once, post)

    def _post_once(self, post: Callable[..., Response], request: Request, *args: Any, **kwargs: Any) -> Response:
        work = partial(post, request, *args, **kwargs)
        self.call = call = call_of(request, self.key, kwargs.get("inbox_id"))
        if call is None:
            return work()
        if self.commits_itself:
            return carry_out(call, work)
        return carry_out(call, partial(in_one_transaction, call, work, self.shown_once))

    def _refuse_what_nobody_reads(self, request: Request) -> None:
        """A parameter or field that the method does not look at would be an instruction that is silently not followed."""
        told = getattr(getattr(self, (request.method or "").lower(), None), "described", None)
        if told is None:
            return
        if told.query is None and request.query_params:
            self.query(Nothing)
        if told.body is None and request.method in ("POST", "PUT", "PATCH") and request.data:
            raise serializers.ValidationError(unknown_fields(request.data, ()))

    def scoped(self, queryset: QuerySet[Row], *, of_no_inbox: bool = False) -> QuerySet[Row]:
        """Only what the key may see: its account's rows of its mode, and only those of its inboxes when it is limited to some.
        `of_no_inbox`: also rows of the whole account, which are of both modes."""
        key = self.key
        of_mode = Q(inbox__mode=key.mode) | (Q(inbox=None) if of_no_inbox else Q())
        rows = queryset.filter(of_mode, account_id=key.account_id)
        return rows if key.inbox_ids is None else rows.filter(inbox_id__in=key.inbox_ids)

    def one(self, queryset: QuerySet[Row], row_id: str) -> Row:
        """The row by its id, within `scoped`; 404 otherwise, whether it exists elsewhere or not."""
        row = self.scoped(queryset).filter(pk=row_id).first()
        if row is None:
            raise not_found()
        return row

    def body(self, serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
        checked = serializer(data=request.data, context={"key": self.key})
        checked.is_valid(raise_exception=True)
        return cast(dict[str, Any], checked.validated_data)

    def query(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        return read_query(once(self.request.query_params), serializer)
