"""/v1/inboxes, and the base of every view below one inbox."""

from collections.abc import Callable
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from inboxes.api.retention_classes import with_retention_class
from inboxes.api.serializers import DeleteQuery, InboxBody, InboxPatch, InboxQuery, InboxSerializer, ReasonBody
from inboxes.holds import is_held
from inboxes.models import Account, Inbox, Mode, Provider
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
from inboxes.sending_record import figures_of
from mailbot.api.errors import ApiError, Code, invalid, not_found
from mailbot.api.pagination import paginated
from mailbot.api.permissions import Principal
from mailbot.api.schema import described
from mailbot.api.views import TenantView, data
from mailbot.lib.addresses import AddressError


def visible_inboxes(key: Principal) -> QuerySet[Inbox]:
    """The inboxes that a key may see: of its account and mode, and among them those that it is limited to."""
    rows = Inbox.objects.filter(account_id=key.account_id, mode=key.mode)
    return rows if key.inbox_ids is None else rows.filter(pk__in=key.inbox_ids)


def shown_inboxes(rows: QuerySet[Inbox]) -> QuerySet[Inbox]:
    """With whether a legal hold is in force, so that nobody has to ask for each."""
    return rows.annotate(on_hold=is_held())


def visible_providers(key: Principal) -> QuerySet[Provider]:
    """Those of its account. None for a test key, whose mail reaches none, nor (by the manager) for a key of some inboxes."""
    rows = Provider.objects.filter(account_id=key.account_id)
    return rows if key.mode == Mode.LIVE else rows.none()


def with_provider(key: Principal, body: dict[str, Any]) -> dict[str, Any]:
    """`provider_id` as the row that it names. Raises not_found for one that the key does not see."""
    if "provider_id" in body:
        named = body.pop("provider_id")
        body["provider"] = named and visible_providers(key).filter(pk=named).first()
        if named and body["provider"] is None:
            raise not_found()
    return body


class InboxScopedView(TenantView):
    """A view of one inbox or of what is in it."""

    def get_inbox(self, inbox_id: str, *, to_show: bool = False) -> Inbox:
        """`to_show`: with all that an answer says of it."""
        rows = visible_inboxes(self.key)
        inbox = (shown_inboxes(rows) if to_show else rows).filter(pk=inbox_id).first()
        if inbox is None:
            raise not_found()
        return inbox

    def check_inbox(self, inbox_id: str) -> str:
        """The same where nothing of the inbox is needed but that it may be seen: its id."""
        if not visible_inboxes(self.key).filter(pk=inbox_id).exists():
            raise not_found()
        return inbox_id

    def represent(self, inbox: Inbox | list[Inbox]) -> Any:
        now = timezone.now()
        figures = figures_of([each.pk for each in (inbox if isinstance(inbox, list) else [inbox])], now)
        context = {"key": self.key, "now": now, "figures": figures}
        return InboxSerializer(inbox, many=isinstance(inbox, list), context=context).data


class InboxesView(InboxScopedView):
    """POST|GET /inboxes"""

    needs = {"POST": INBOXES_CREATE, "GET": INBOXES_READ}

    @described(
        "Make an inbox",
        body=InboxBody,
        answer=InboxSerializer,
        status=201,
        also={200: InboxSerializer},
        errors=(Code.CONFLICT, Code.NOT_FOUND),
    )
    def post(self, request: Request) -> Response:
        """Without a username the address is a readable random one. A `client_id` makes the call safe to repeat: it answers the first inbox,
        with status 200. An address that is taken is a 409 with three free `suggestions`."""
        body = with_retention_class(self.key, with_provider(self.key, self.body(InboxBody, request)))
        if self.key.inbox_ids is not None:
            message = "This key is limited to some inboxes and makes none."
            raise ApiError(Code.FORBIDDEN, message, fix="Use a key of the whole account.")
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

    @described("List inboxes", query=InboxQuery, answer=InboxSerializer, many=True)
    def get(self, request: Request) -> Response:
        """Newest first; deleted ones are among them."""
        query = self.query(InboxQuery)
        inboxes = shown_inboxes(visible_inboxes(self.key))
        if status := query.get("status"):
            ended = Inbox.ended(timezone.now())
            inboxes = inboxes.filter(ended if status == Inbox.Status.DELETED else Q(status=status) & ~ended)
        return paginated(inboxes, query, self.represent)


class InboxView(InboxScopedView):
    """GET|PATCH|DELETE /inboxes/{inbox_id}"""

    needs = {"GET": INBOXES_READ, "PATCH": INBOXES_WRITE, "DELETE": INBOXES_DELETE}

    @described("Read an inbox", answer=InboxSerializer)
    def get(self, request: Request, inbox_id: str) -> Response:
        return data(self.represent(self.get_inbox(inbox_id, to_show=True)))

    @described("Change an inbox", body=InboxPatch, answer=InboxSerializer, errors=(Code.GONE,))
    def patch(self, request: Request, inbox_id: str) -> Response:
        """What is left out stays as it is. `expires_in` counts from now; null means no end. Of a deleted inbox the retention class can be
        changed, and nothing else."""
        inbox = self.get_inbox(inbox_id, to_show=True)
        changes = with_retention_class(self.key, with_provider(self.key, self.body(InboxPatch, request)))
        if inbox.has_ended(timezone.now()) and changes.keys() != {"retention_class"}:
            raise ApiError(
                Code.GONE, "This inbox is deleted.", fix="Make a new one; what this one holds stays readable."
            )
        return data(self.represent(change_inbox(inbox, changes) if changes else inbox))

    @described("Delete an inbox", query=DeleteQuery, answer=InboxSerializer, errors=(Code.CONFLICT,))
    def delete(self, request: Request, inbox_id: str) -> Response:
        """Its address refuses mail from now on (550 5.1.1); what it holds stays readable. `purge` erases messages, threads, attachments and
        raw mail at once. Safe to repeat. While a legal hold is in force on it, both are a 409 that names the hold."""
        query = self.query(DeleteQuery)
        end = purge_inbox if query["purge"] else delete_inbox
        return data(self.represent(end(self.get_inbox(inbox_id, to_show=True))))


class InboxStateView(InboxScopedView):
    """POST /inboxes/{inbox_id}/pause|resume"""

    needs = INBOXES_WRITE

    def moved(self, move: Callable[[Inbox, str], Inbox], request: Request, inbox_id: str) -> Response:
        inbox = self.get_inbox(inbox_id, to_show=True)
        reason = self.body(ReasonBody, request)["reason"]
        if inbox.has_ended(timezone.now()):
            raise ApiError(Code.GONE, "This inbox is deleted.", fix="Make a new one.")
        if move is resume and inbox.trials_at is not None and not reason:
            raise invalid("reason", "A breaker stopped this inbox: say what was done about it.")
        return data(self.represent(move(inbox, reason)))


class PauseView(InboxStateView):
    @described("Pause an inbox", body=ReasonBody, answer=InboxSerializer, errors=(Code.GONE,))
    def post(self, request: Request, inbox_id: str) -> Response:
        """A paused inbox receives and does not send."""
        return self.moved(pause, request, inbox_id)


class ResumeView(InboxStateView):
    @described("Resume an inbox", body=ReasonBody, answer=InboxSerializer, errors=(Code.GONE,))
    def post(self, request: Request, inbox_id: str) -> Response:
        """It sends again, also after a breaker stopped it: then a reason is needed, and its record begins anew."""
        return self.moved(resume, request, inbox_id)
