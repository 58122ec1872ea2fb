"""/v1/inboxes, and the base of every view below one inbox."""

from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from inboxes.api.serializers import DeleteQuery, InboxBody, InboxPatch, InboxQuery, InboxSerializer, ReasonBody
from inboxes.models import Account, Inbox
from inboxes.permissions import INBOXES_CREATE, INBOXES_DELETE, INBOXES_READ, INBOXES_WRITE
from inboxes.provisioning import (
    AddressRefused,
    AddressTaken,
    InboxRequest,
    change_inbox,
    create_inbox,
    delete_inbox,
    pause,
    purge_inbox,
    resume,
)
from mailbot.api.errors import ApiError, Code, invalid, not_found
from mailbot.api.pagination import paginated
from mailbot.api.permissions import Principal
from mailbot.api.views import TenantView, data
from mailbot.lib.addresses import AddressError


def visible_inboxes(key: Principal) -> QuerySet[Inbox]:
    """The inboxes that a key may see: of its account and mode, and among them those that it is limited to."""
    rows = Inbox.objects.filter(account_id=key.account_id, mode=key.mode)
    return rows if key.inbox_ids is None else rows.filter(pk__in=key.inbox_ids)


class InboxScopedView(TenantView):
    """A view of one inbox or of what is in it."""

    def get_inbox(self, inbox_id: str) -> Inbox:
        inbox = visible_inboxes(self.key).filter(pk=inbox_id).first()
        if inbox is None:
            raise not_found()
        return inbox

    def represent(self, inbox: Inbox | list[Inbox]) -> Any:
        context = {"key": self.key, "now": timezone.now()}
        return InboxSerializer(inbox, many=isinstance(inbox, list), context=context).data


class InboxesView(InboxScopedView):
    """POST|GET /inboxes"""

    needs = {"POST": INBOXES_CREATE, "GET": INBOXES_READ}

    def post(self, request: Request) -> Response:
        if self.key.inbox_ids is not None:
            message = "This key is limited to some inboxes and makes none."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a key of the whole account.")
        body = self.body(InboxBody, request)
        local_part = body.pop("username", "")
        try:
            account = Account.objects.get(pk=self.key.account_id)
            inbox, created = create_inbox(account, self.key.mode, InboxRequest(local_part=local_part, **body))
        except AddressTaken as error:
            fix = "Take one of the suggestions, or leave out username to get a random one."
            raise ApiError(Code.CONFLICT, str(error), fix=fix, suggestions=error.suggestions) from error
        except AddressRefused as error:
            raise invalid(error.field, str(error)) from error
        except AddressError as error:
            raise invalid("domain" if "domain" in str(error) else "username", str(error)) from error
        return data(self.represent(inbox), status=201 if created else 200)

    def get(self, request: Request) -> Response:
        query = self.query(InboxQuery)
        inboxes = visible_inboxes(self.key)
        if status := query.get("status"):
            ended = Inbox.ended(timezone.now())
            inboxes = inboxes.filter(ended if status == Inbox.Status.DELETED else Q(status=status) & ~ended)
        return paginated(inboxes, query, self.represent)


class InboxView(InboxScopedView):
    """GET|PATCH|DELETE /inboxes/{inbox_id}"""

    needs = {"GET": INBOXES_READ, "PATCH": INBOXES_WRITE, "DELETE": INBOXES_DELETE}

    def get(self, request: Request, inbox_id: str) -> Response:
        return data(self.represent(self.get_inbox(inbox_id)))

    def patch(self, request: Request, inbox_id: str) -> Response:
        inbox = self.get_inbox(inbox_id)
        changes = self.body(InboxPatch, request)
        if inbox.has_ended(timezone.now()):
            raise ApiError(
                Code.GONE, "This inbox is deleted.", fix="Make a new one; what this one holds stays readable."
            )
        return data(self.represent(change_inbox(inbox, changes) if changes else inbox))

    def delete(self, request: Request, inbox_id: str) -> Response:
        query = self.query(DeleteQuery)
        end = purge_inbox if query["purge"] else delete_inbox
        return data(self.represent(end(self.get_inbox(inbox_id))))


class InboxStateView(InboxScopedView):
    """POST /inboxes/{inbox_id}/pause|resume"""

    needs = INBOXES_WRITE
    action = "pause"

    def post(self, request: Request, inbox_id: str) -> Response:
        inbox = self.get_inbox(inbox_id)
        reason = self.body(ReasonBody, request)["reason"]
        if inbox.has_ended(timezone.now()):
            raise ApiError(Code.GONE, "This inbox is deleted.", fix="Make a new one.")
        return data(self.represent({"pause": pause, "resume": resume}[self.action](inbox, reason)))
