"""What of an inbox is over, in the console, and removing it before the sweep does."""

from datetime import datetime
from typing import Any, NamedTuple

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone

from delivery.retention_sweep import MOST_COUNTED, Over, Preview, preview, remove_now
from inboxes.console_retention import RetentionClassAdmin
from inboxes.console_roles import Can, may_in, visible
from inboxes.holds import Held, refusals_stay
from inboxes.models import Inbox
from mailbot.lib.ids import is_id

LABELS = {"content": "Messages and attachments", "raw": "Raw mail", "events": "Events", "audit": "Audit trail"}
UNITS = {
    "content": ("message", "messages"),
    "raw": ("raw mail", "raw mails"),
    "events": ("event", "events"),
    "audit": ("entry of the trail", "entries of the trail"),
}


class PartShown(NamedTuple):
    label: str
    days: int | None
    over: Over


class OverShown(NamedTuple):
    found: Preview
    parts: list[PartShown]

    @property
    def is_due(self) -> bool:
        """Whether the sweep comes within a minute."""
        at: datetime | None = self.found.next_at
        return at is not None and at <= timezone.now()


def what_is_over(inbox: Inbox) -> OverShown:
    found = preview(inbox)
    days = found.periods._asdict()
    return OverShown(found, [PartShown(LABELS[name], days[name], over) for name, over in found.over.items()])


class RetentionAdmin(RetentionClassAdmin):
    """With a page for each inbox. Whoever sees the inbox sees it; operators remove."""

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(self.over_view)
        return [path("inbox/<str:inbox_id>/", page, name="inboxes_retentionclass_over"), *super().get_urls()]

    def over_view(self, request: HttpRequest, inbox_id: str) -> HttpResponse:
        inbox = visible(request, Inbox.objects.filter(pk=inbox_id if is_id(inbox_id, "inbox") else "")).first()
        if inbox is None:
            raise Http404
        may_remove = may_in(request, Can.OPERATE, inbox.account_id)
        if request.method == "POST":
            if not may_remove:
                raise Http404
            self._remove(request, inbox)
            return HttpResponseRedirect(request.path)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "What is over",
            "subtitle": inbox.address,
            "inbox": inbox,
            "over": what_is_over(inbox),
            "may_remove": may_remove,
            "may_manage": may_in(request, Can.MANAGE, inbox.account_id),
            "most_counted": MOST_COUNTED,
        }
        return TemplateResponse(request, "admin/inboxes/retentionclass/over.html", context)

    def _remove(self, request: HttpRequest, inbox: Inbox) -> None:
        try:
            with refusals_stay():
                removed = remove_now(inbox)
        except Held as held:
            self.message_user(request, f"Nothing was removed. {held} An owner may release it.", messages.WARNING)
            return
        told = ", ".join(_counted(name, number) for name, number in removed.by_part.items() if number)
        if not removed.is_all:
            more = "There is more: the sweep goes on with it within a minute, or press again."
            self.message_user(request, f"Removed so far: {told or 'nothing'}. {more}", messages.WARNING)
        elif told:
            self.message_user(request, f"Removed: {told}.")
        else:
            self.message_user(request, "Nothing was over, and nothing was removed.", messages.WARNING)


def _counted(name: str, number: int) -> str:
    one, many = UNITS[name]
    return f"{number:,} {one if number == 1 else many}"
