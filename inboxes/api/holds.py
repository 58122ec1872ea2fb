"""/v1/holds: legal holds on inboxes, or on all of an account."""

from typing import Any

from django.db.models import Q, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from inboxes.api.holds_shapes import HoldBody, HoldQuery, HoldReleaseBody, HoldSerializer
from inboxes.api.views import InboxScopedView, visible_inboxes
from inboxes.holds import place, release
from inboxes.models import Account, LegalHold, Mode
from inboxes.permissions import HOLDS_READ, HOLDS_WRITE
from mailbot.api.errors import ApiError, Code, not_found
from mailbot.api.pagination import paginated
from mailbot.api.permissions import Principal
from mailbot.api.schema import described
from mailbot.api.views import data


def visible_holds(key: Principal) -> QuerySet[LegalHold]:
    """Those on the inboxes that the key may see, and those on the whole account, which bind these too."""
    rows = LegalHold.objects.filter(Q(inbox=None) | Q(inbox__mode=key.mode), account_id=key.account_id)
    return rows if key.inbox_ids is None else rows.filter(Q(inbox=None) | Q(inbox__in=visible_inboxes(key)))


class HoldScopedView(InboxScopedView):
    def get_hold(self, hold_id: str) -> LegalHold:
        hold = visible_holds(self.key).filter(pk=hold_id).first()
        if hold is None:
            raise not_found()
        return hold

    def refuse_unless_of_account(self) -> None:
        """A hold on the account binds all its inboxes, live ones too."""
        if self.key.inbox_ids is not None:
            message = "This key is limited to some inboxes; a hold on the whole account is none of its business."
            raise ApiError(Code.FORBIDDEN, message, fix="Name an inbox in inbox_id, or use a key of the whole account.")
        if self.key.mode != Mode.LIVE:
            message = "A hold on the whole account binds its live inboxes, and this is a test key."
            raise ApiError(Code.FORBIDDEN, message, fix="Name an inbox in inbox_id, or use a live key.")


class HoldsView(HoldScopedView):
    """POST|GET /holds"""

    needs = {"POST": HOLDS_WRITE, "GET": HOLDS_READ}

    @described("Place a legal hold", body=HoldBody, answer=HoldSerializer, status=201, errors=(Code.NOT_FOUND,))
    def post(self, request: Request) -> Response:
        """On one inbox, a deleted one too, or, without `inbox_id`, on all of the account, also those that are made later. While it is in
        force nothing of them is deleted, purged, erased or removed because its time is over: such a request is a 409 that names it."""
        body = self.body(HoldBody, request)
        inbox = self.get_inbox(body["inbox_id"]) if body["inbox_id"] else None
        if inbox is None:
            self.refuse_unless_of_account()
        account = Account.objects.get(pk=self.key.account_id)
        hold = place(account, inbox=inbox, matter=body["matter"], reason=body["reason"])
        return data(represent(hold), status=201)

    @described("List legal holds", query=HoldQuery, answer=HoldSerializer, many=True, errors=(Code.NOT_FOUND,))
    def get(self, request: Request) -> Response:
        """Newest first, released ones too. With `inbox_id` those that bind this inbox: on it, and on the whole account."""
        query = self.query(HoldQuery)
        holds = visible_holds(self.key)
        if inbox_id := query.get("inbox_id"):
            holds = holds.filter(Q(inbox=None) | Q(inbox=self.check_inbox(inbox_id)))
        if query["active"] is not None:
            holds = holds.filter(released_at__isnull=query["active"])
        return paginated(holds, query, represent)


class HoldView(HoldScopedView):
    """GET /holds/{hold_id}"""

    needs = HOLDS_READ

    @described("Read a legal hold", answer=HoldSerializer)
    def get(self, request: Request, hold_id: str) -> Response:
        return data(represent(self.get_hold(hold_id)))


class ReleaseHoldView(HoldScopedView):
    """POST /holds/{hold_id}/release"""

    needs = HOLDS_WRITE

    @described("Release a legal hold", body=HoldReleaseBody, answer=HoldSerializer, name="release_hold")
    def post(self, request: Request, hold_id: str) -> Response:
        """What it kept may go from now on, unless another hold is there: what is over goes with the next sweep. The hold stays in the
        list. Safe to repeat: one that is released already is answered as it is."""
        hold = self.get_hold(hold_id)
        if not hold.inbox_id:
            self.refuse_unless_of_account()
        return data(represent(release(hold, reason=self.body(HoldReleaseBody, request)["reason"])))


def represent(holds: LegalHold | list[LegalHold]) -> Any:
    return HoldSerializer(holds, many=isinstance(holds, list)).data
