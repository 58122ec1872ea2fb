"""/v1/audit-log/exports: bundles of evidence."""

from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from audit.exports import (
    MOST_UNFINISHED,
    NotThere,
    TooManyExports,
    ask_for_export,
    begin_download,
    filename_of,
    octets_of_export,
)
from audit.models import Export
from inboxes.api.audit_exports_shapes import ExportBody, ExportQuery, ExportSerializer
from inboxes.api.views import InboxScopedView
from inboxes.permissions import AUDIT_READ, MESSAGES_READ
from mailbot.api.errors import ApiError, Code, not_found
from mailbot.api.pagination import paginated
from mailbot.api.permissions import Principal, require
from mailbot.api.schema import described
from mailbot.api.streaming import streamed
from mailbot.api.views import data

ZIP = "application/zip"


def visible_exports(key: Principal) -> QuerySet[Export]:
    """Those of the key's mode. Those made in the console of both modes are for the console."""
    return Export.objects.filter(account_id=key.account_id, mode=key.mode)


def represent(rows: Export | list[Export]) -> Any:
    return ExportSerializer(rows, many=isinstance(rows, list)).data


class ExportScopedView(InboxScopedView):
    needs = AUDIT_READ

    def export(self, export_id: str) -> Export:
        export = visible_exports(self.key).filter(pk=export_id).first()
        if export is None:
            raise not_found()
        return export

    def refuse_limited_key(self) -> None:
        if self.key.inbox_ids is not None:
            message = "A bundle proves by the tree of the whole account, and this key is limited to some inboxes."
            fix = "Use a key that is not limited to some inboxes, or GET /v1/audit-log/export, which has no proofs."
            raise ApiError(Code.FORBIDDEN, message, fix=fix)


class ExportsView(ExportScopedView):
    """POST|GET /audit-log/exports"""

    @described("List exports", query=ExportQuery, answer=ExportSerializer, many=True)
    def get(self, request: Request) -> Response:
        """Newest first; those that failed or are expired, too."""
        return paginated(visible_exports(self.key), self.query(ExportQuery), represent)

    @described(
        "Export the audit log",
        body=ExportBody,
        answer=ExportSerializer,
        status=202,
        errors=(Code.CONFLICT, Code.NOT_FOUND),
        name="create_export",
    )
    def post(self, request: Request) -> Response:
        """A bundle that proves itself without this server: of an inbox (deleted ones, too) or of all of the key's mode, with mail where
        `include` says so. It is made by a worker: ask for it until `status` is `done`. Takes a key of all inboxes."""
        body = self.body(ExportBody, request)
        if body["inbox_id"]:
            self.check_inbox(body["inbox_id"])
        self.refuse_limited_key()
        if body["include"]:
            require(self.key, MESSAGES_READ)
        try:
            export = ask_for_export(
                account_id=self.key.account_id,
                inbox_id=body["inbox_id"],
                mode=self.key.mode,
                since=body["from"],
                until=body["to"],
                include=body["include"],
                reason=body["reason"],
            )
        except TooManyExports:
            message = f"This account waits for {MOST_UNFINISHED} exports already."
            raise ApiError(Code.CONFLICT, message, fix="Wait until one of them is finished.") from None
        return data(represent(export), status=202)


class ExportView(ExportScopedView):
    """GET /audit-log/exports/{export_id}"""

    @described("Read how far an export is", answer=ExportSerializer)
    def get(self, request: Request, export_id: str) -> Response:
        return data(represent(self.export(export_id)))


class ExportDownloadView(ExportScopedView):
    """GET /audit-log/exports/{export_id}/download"""

    @described("Download an export", media_type=ZIP, errors=(Code.CONFLICT, Code.GONE), name="download_export")
    def get(self, request: Request, export_id: str) -> StreamingHttpResponse:
        """The zip, whose hash is `sha256`. One with mail in it takes the right messages:read, too. Each download is in the trail."""
        export = self.export(export_id)
        if export.include:
            require(self.key, MESSAGES_READ)
        try:
            begin_download(export)
        except NotThere:
            raise _not_there(export) from None
        return streamed(request._request, octets_of_export(export), ZIP, filename_of(export))


def _not_there(export: Export) -> ApiError:
    if export.status in (Export.Status.QUEUED, Export.Status.RUNNING):
        return ApiError(Code.CONFLICT, "It is not finished yet.", fix="Ask for it again until its status is done.")
    why = "It could not be made." if export.status == Export.Status.FAILED else "Its time is over."
    return ApiError(Code.GONE, why, fix="Ask for another one.")
