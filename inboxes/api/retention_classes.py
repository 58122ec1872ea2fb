"""/v1/retention-classes: how long inboxes keep what they have."""

from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from inboxes.api.retention_shapes import ClassBody, ClassPatch, ClassQuery, ClassSerializer
from inboxes.models import Account, Mode, RetentionClass
from inboxes.permissions import RETENTION_MANAGE, RETENTION_READ
from inboxes.retention_classes import ClassInUse, ClassRefused, change_class, delete_class, is_live, make_class
from mailbot.api.errors import ApiError, Code, invalid, not_found
from mailbot.api.pagination import paginated
from mailbot.api.permissions import Principal
from mailbot.api.schema import described
from mailbot.api.views import TenantView, data


def visible_classes(key: Principal) -> QuerySet[RetentionClass]:
    """Those of its account, for inboxes of both modes. None for a key of some inboxes (by the manager)."""
    return RetentionClass.objects.filter(account_id=key.account_id)


def with_retention_class(key: Principal, body: dict[str, Any]) -> dict[str, Any]:
    """`retention_class_id` as the row that it names. Raises not_found for one that the key does not see, and refuses a key that may choose
    none: a class can erase what is there."""
    if "retention_class_id" in body:
        if RETENTION_MANAGE not in key.permissions:
            message = f"Choosing a retention class needs the right {RETENTION_MANAGE}."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a key with that right, or leave retention_class_id out.")
        named = body.pop("retention_class_id")
        body["retention_class"] = named and visible_classes(key).filter(pk=named).first()
        if named and body["retention_class"] is None:
            raise not_found()
    return body


class ClassScopedView(TenantView):
    def get_class(self, class_id: str) -> RetentionClass:
        retention = visible_classes(self.key).filter(pk=class_id).first()
        if retention is None:
            raise not_found()
        return retention

    def get_changeable(self, class_id: str) -> RetentionClass:
        retention = self.get_class(class_id)
        self.refuse_for_test_keys(is_live(retention))
        return retention

    def refuse_for_test_keys(self, is_of_live_mail: bool) -> None:
        """A test key touches nothing on which live mail depends."""
        if is_of_live_mail and self.key.mode != Mode.LIVE:
            message = "Live inboxes are kept by this class, and this is a test key."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a live key.")

    def saved(self, save: Callable[[], RetentionClass], status: int = 200) -> Response:
        try:
            return data(represent(save()), status=status)
        except ClassRefused as error:
            raise invalid(error.field, str(error)) from error

    def changed(self, class_id: str, changes: Mapping[str, Any]) -> Response:
        retention = self.get_changeable(class_id)
        self.refuse_for_test_keys(bool(changes.get("is_default")))
        return self.saved(lambda: change_class(retention, changes) if changes else retention)


class ClassesView(ClassScopedView):
    """POST|GET /retention-classes"""

    needs = {"POST": RETENTION_MANAGE, "GET": RETENTION_READ}

    @described("Make a retention class", body=ClassBody, answer=ClassSerializer, status=201)
    def post(self, request: Request) -> Response:
        """Content, raw mail, events and trail apart, in days; null keeps for ever. One that `is_default` is for all inboxes of the account
        that name none, those that are there too, and takes that from the one before."""
        body = self.body(ClassBody, request)
        if self.key.inbox_ids is not None:
            message = "This key is limited to some inboxes; retention classes are of the whole account."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a key of the whole account.")
        self.refuse_for_test_keys(body["is_default"])
        account = Account.objects.get(pk=self.key.account_id)
        return self.saved(lambda: make_class(account, body), status=201)

    @described("List retention classes", query=ClassQuery, answer=ClassSerializer, many=True)
    def get(self, request: Request) -> Response:
        """Newest first."""
        query = self.query(ClassQuery)
        return paginated(visible_classes(self.key).order_by("-id"), query, represent)


class ClassView(ClassScopedView):
    """GET|PUT|PATCH|DELETE /retention-classes/{retention_class_id}"""

    needs = {"GET": RETENTION_READ, "PUT": RETENTION_MANAGE, "PATCH": RETENTION_MANAGE, "DELETE": RETENTION_MANAGE}

    @described("Read a retention class", answer=ClassSerializer)
    def get(self, request: Request, retention_class_id: str) -> Response:
        return data(represent(self.get_class(retention_class_id)))

    @described("Replace a retention class", body=ClassBody, answer=ClassSerializer)
    def put(self, request: Request, retention_class_id: str) -> Response:
        """What is left out is kept for ever. What is over by the new times goes with the next sweep."""
        return self.changed(retention_class_id, self.body(ClassBody, request))

    @described("Change a retention class", body=ClassPatch, answer=ClassSerializer)
    def patch(self, request: Request, retention_class_id: str) -> Response:
        """What is left out stays as it is. What is over by the new times goes with the next sweep."""
        return self.changed(retention_class_id, self.body(ClassPatch, request))

    @described("Delete a retention class", answer=ClassSerializer, errors=(Code.CONFLICT,))
    def delete(self, request: Request, retention_class_id: str) -> Response:
        """While inboxes name it, it is a 409. The answer is what it was."""
        retention = self.get_changeable(retention_class_id)
        answer = data(represent(retention))
        try:
            delete_class(retention)
        except ClassInUse as error:
            fix = "Give these inboxes another class first, or none, with PATCH /v1/inboxes/{inbox_id}."
            raise ApiError(Code.CONFLICT, str(error), fix=fix) from error
        return answer


def represent(classes: RetentionClass | list[RetentionClass]) -> Any:
    return ClassSerializer(classes, many=isinstance(classes, list)).data
