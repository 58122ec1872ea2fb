"""The page of the console that says whether mail is handed out at all, with the button that stops it and lets it go on."""

import logging

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from delivery.models import OutboundMail
from delivery.outbound.outbox import current_state, pause, resume
from delivery.outbound.states import State
from inboxes.console import ReasonForm
from inboxes.console_roles import is_superuser
from mailbot.lib.outside_record import RecordUnavailable

log = logging.getLogger(__name__)
MOST_COUNTED = 1_000


def sending_page(request: HttpRequest) -> HttpResponse:
    """For superusers: the mail of all accounts waits or leaves by it."""
    if not is_superuser(request):
        raise PermissionDenied
    state = current_state()
    is_paused = state is not None and state.is_paused
    form = ReasonForm(request.POST if request.method == "POST" else None, needs_reason=True)
    if form.is_valid():
        return _act(request, request.POST.get("act", ""), form.cleaned_data["reason"])
    queued = OutboundMail.objects.filter(state=State.QUEUED)
    context = {
        **admin.site.each_context(request),
        "opts": OutboundMail._meta,
        "title": "Sending",
        "state": state,
        "is_paused": is_paused,
        "form": form,
        "queued": queued[: MOST_COUNTED + 1].count(),
        "most_counted": MOST_COUNTED,
        "oldest": queued.order_by("created_at").values_list("created_at", flat=True).first(),
    }
    status = 400 if form.errors else 200
    return TemplateResponse(request, "admin/delivery/sending.html", context, status=status)


def _act(request: HttpRequest, act: str, reason: str) -> HttpResponse:
    """The act is named by the button, so that a page that is old does not do the opposite of what it said."""
    try:
        if act == "pause" and pause(reason):
            messages.success(request, "Sending is paused.")
        elif act == "resume" and resume(reason):
            messages.success(request, "Sending goes on.")
        else:
            messages.warning(request, "Nothing was changed: somebody else has done it, or it was not asked for.")
    except RecordUnavailable as error:
        log.warning("The record outside of the database cannot be used: %s", error)
        messages.error(
            request, "Sending stays paused: the record outside of the database cannot be used. The log says why."
        )
    return HttpResponseRedirect(request.path)
