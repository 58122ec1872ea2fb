"""/v1/suppressions: the addresses that get no more mail."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from audit.reads import record_read
from audit.record import Act
from delivery.api.suppression_shapes import (
    CheckQuery,
    CheckSerializer,
    FilterQuery,
    ImportBody,
    ImportedSerializer,
    LiftQuery,
    ReasonQuery,
    SuppressionBody,
    SuppressionQuery,
    SuppressionSerializer,
)
from delivery.models import Suppression
from delivery.suppression import Target, Wanted, lift, set_suppression, suppress
from delivery.suppression_import import MOST_EXPORTED, TooMany, Unreadable, as_csv, entry_lines, import_lines, lines_of
from delivery.suppression_lookup import suppressed_among
from delivery.suppression_model import erased_digests
from inboxes.api.lists import is_limited
from inboxes.api.views import InboxScopedView, visible_inboxes
from inboxes.models import Inbox
from inboxes.permissions import SUPPRESSIONS_READ, SUPPRESSIONS_WRITE
from mailbot.api.errors import ApiError, Code, invalid, not_found
from mailbot.api.pagination import paginated
from mailbot.api.permissions import Principal
from mailbot.api.schema import described
from mailbot.api.views import data


def visible_suppressions(key: Principal) -> QuerySet[Suppression]:
    """Those of the inboxes that the key may see, and the wider ones which these are under."""
    rows = Suppression.objects.filter(account_id=key.account_id, mode=key.mode)
    if not is_limited(key):
        return rows
    mine = visible_inboxes(key)
    wider = Q(inbox=None) & (Q(domain="") | Q(domain__in=mine.values("domain")))
    return rows.filter(Q(inbox__in=mine) | wider)


def narrowed(rows: QuerySet[Suppression], query: dict[str, Any]) -> QuerySet[Suppression]:
    names = {"inbox_id": "inbox_id", "domain": "domain", "address": "address", "cause": "cause"}
    rows = rows.filter(**{column: query[name] for name, column in names.items() if name in query})
    if scope := query.get("scope"):
        rows = rows.in_scope(scope)  # type: ignore[attr-defined]
    times: dict[str, datetime] = {
        f"created_at__{edge}": query[name] for name, edge in (("from", "gte"), ("to", "lt")) if name in query
    }
    return rows.filter(**times)


def represent(rows: Suppression | list[Suppression]) -> Any:
    return SuppressionSerializer(rows, many=isinstance(rows, list)).data


class SuppressionScopedView(InboxScopedView):
    needs = {
        "GET": SUPPRESSIONS_READ,
        "POST": SUPPRESSIONS_WRITE,
        "PUT": SUPPRESSIONS_WRITE,
        "DELETE": SUPPRESSIONS_WRITE,
    }

    def target(self, body: dict[str, Any]) -> Target:
        """Whose mail is to be stopped."""
        inbox = self.living_inbox(body["inbox_id"]) if body["inbox_id"] else None
        if inbox is None:
            self.refuse_limited_key()
        return Target(self.key.account_id, self.key.mode, inbox, body["domain"] or "")

    def living_inbox(self, inbox_id: str) -> Inbox:
        inbox = self.get_inbox(inbox_id)
        if inbox.status == Inbox.Status.DELETED:
            raise ApiError(Code.GONE, "This inbox is deleted.", fix="Name one that sends.")
        return inbox

    def refuse_limited_key(self) -> None:
        """Wider entries stop mail of inboxes that such a key may not see."""
        if is_limited(self.key):
            message = "This key is limited to some inboxes."
            fix = "Name one of them in inbox_id, or use a key of the whole account."
            raise ApiError(Code.FORBIDDEN, message, fix=fix)

    def lifted(self, entry: Suppression, reason: str) -> Response:
        if not entry.inbox_id:
            self.refuse_limited_key()
        told = represent(entry)
        lift(entry, reason)
        return data(told)

    def filtered(self, query: dict[str, Any]) -> QuerySet[Suppression]:
        if "inbox_id" in query:
            self.check_inbox(query["inbox_id"])
        return narrowed(visible_suppressions(self.key), query)


def wanted_by(body: dict[str, Any]) -> Wanted:
    return Wanted(
        address=body.get("address", ""),
        cause=body["cause"],
        reason=body["reason"],
        expires_at=body.get("expires_at"),
        ends_by_cause="expires_at" not in body,
    )


class SuppressionsView(SuppressionScopedView):
    """GET|POST|PUT|DELETE /suppressions"""

    @described(
        "List suppressions", query=SuppressionQuery, answer=SuppressionSerializer, many=True, errors=(Code.NOT_FOUND,)
    )
    def get(self, request: Request) -> Response:
        """Newest first. Those whose time is over are among them until they are swept; they stop nothing."""
        query = self.query(SuppressionQuery)
        return paginated(self.filtered(query), query, represent)

    @described(
        "Suppress an address",
        body=SuppressionBody,
        answer=SuppressionSerializer,
        status=201,
        also={200: SuppressionSerializer},
        errors=(Code.GONE, Code.NOT_FOUND),
        name="add_suppression",
    )
    def post(self, request: Request) -> Response:
        """200 with the entry when it was there already: the stronger cause stands, and it never ends earlier for this."""
        body = self.body(SuppressionBody, request)
        entry, is_new = suppress(self.target(body), wanted_by(body))
        return data(represent(entry), status=201 if is_new else 200)

    @described(
        "Set a suppression",
        body=SuppressionBody,
        answer=SuppressionSerializer,
        also={201: SuppressionSerializer},
        errors=(Code.GONE, Code.NOT_FOUND),
        name="set_suppression",
    )
    def put(self, request: Request) -> Response:
        """Exactly this, whatever was there: cause, reason and end. Safe to repeat. 201 when it is new."""
        body = self.body(SuppressionBody, request)
        entry, is_new = set_suppression(self.target(body), wanted_by(body))
        return data(represent(entry), status=201 if is_new else 200)

    @described(
        "Lift a suppression by its address",
        query=LiftQuery,
        answer=SuppressionSerializer,
        name="remove_suppression_by_address",
        errors=(Code.NOT_FOUND,),
    )
    def delete(self, request: Request) -> Response:
        """Of one inbox, of one domain or, without either, of the account. The answer is the entry as it was."""
        query = self.query(LiftQuery)
        inbox_id, domain = query.get("inbox_id"), query.get("domain", "")
        inbox = self.get_inbox(inbox_id) if inbox_id else None
        digest = Target(self.key.account_id, self.key.mode, inbox, domain).digest(query["address"])
        named = Q(address=query["address"]) | Q(digest__in=erased_digests(digest))
        rows = visible_suppressions(self.key).filter(named, inbox=inbox, domain=domain)
        entry = rows.first()
        if entry is None:
            raise not_found()
        return self.lifted(entry, query["reason"])


class SuppressionView(SuppressionScopedView):
    """GET|DELETE /suppressions/{suppression_id}"""

    @described("Read a suppression", answer=SuppressionSerializer)
    def get(self, request: Request, suppression_id: str) -> Response:
        return data(represent(self.entry(suppression_id)))

    @described("Lift a suppression", query=ReasonQuery, answer=SuppressionSerializer, name="remove_suppression")
    def delete(self, request: Request, suppression_id: str) -> Response:
        """Mail may go there again. The answer is the entry as it was."""
        return self.lifted(self.entry(suppression_id), self.query(ReasonQuery)["reason"])

    def entry(self, suppression_id: str) -> Suppression:
        entry = visible_suppressions(self.key).filter(pk=suppression_id).first()
        if entry is None:
            raise not_found()
        return entry


class SuppressionCheckView(SuppressionScopedView):
    """GET /suppressions/check"""

    @described(
        "Ask whether an address is suppressed",
        query=CheckQuery,
        answer=CheckSerializer,
        name="check_suppression",
        errors=(Code.NOT_FOUND,),
    )
    def get(self, request: Request) -> Response:
        """For mail of this inbox, by an entry of the inbox, of its domain or of the account. Without `inbox_id`: of the account alone."""
        query = self.query(CheckQuery)
        inbox_id = query.get("inbox_id")
        any_inbox = Inbox(pk="", account_id=self.key.account_id, mode=self.key.mode)
        inbox = self.get_inbox(inbox_id) if inbox_id else any_inbox
        entry = suppressed_among(inbox, [query["address"]]).get(query["address"])
        told = {"address": query["address"], "inbox_id": inbox_id, "suppressed": entry is not None}
        return data({**told, "suppression": represent(entry) if entry else None})


class SuppressionImportView(SuppressionScopedView):
    """POST /suppressions/import"""

    @described(
        "Import suppressions",
        body=ImportBody,
        answer=ImportedSerializer,
        errors=(Code.GONE, Code.NOT_FOUND),
        name="import_suppressions",
    )
    def post(self, request: Request) -> Response:
        """Up to 10,000 entries. Lines that cannot be read are named in the answer, and the others are imported. Safe to repeat."""
        body = self.body(ImportBody, request)
        has_content = "content" in body
        try:
            lines = lines_of(body["content"], body.get("format", "")) if has_content else entry_lines(body["entries"])
            told = import_lines(self.target(body), lines, "api", wanted_by(body))
        except (TooMany, Unreadable) as error:
            raise invalid("content" if has_content else "entries", str(error)) from error
        return data(asdict(told))


class SuppressionExportView(SuppressionScopedView):
    """GET /suppressions/export"""

    @described(
        "Export suppressions",
        query=FilterQuery,
        media_type="text/csv",
        name="export_suppressions",
        errors=(Code.NOT_FOUND,),
    )
    def get(self, request: Request) -> HttpResponse:
        """CSV (RFC 4180), newest first, at most 50,000; what a spreadsheet would take for a formula has an apostrophe before it."""
        rows = self.filtered(self.query(FilterQuery)).order_by("-pk")[:MOST_EXPORTED]
        content, count = as_csv(rows), len(rows)
        record_read(Act.SUPPRESSION_EXPORTED, "suppression", "", account_id=self.key.account_id, count=count)
        answer = HttpResponse(content, content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = 'attachment; filename="suppressions.csv"'
        return answer
