"""Suppressions in the console: read, added, imported and removed. An entry is never edited."""

from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.html import format_html

from delivery.console_suppression_forms import ImportForm, SuppressForm
from delivery.models import Suppression
from delivery.suppression import lift
from delivery.suppression_model import Cause, Scope
from inboxes.console import AccountFilter, ConsoleAdmin, InboxFilter, Question, choice_filter
from inboxes.console_forms import prefilled
from inboxes.console_roles import Can, Rows, visible
from inboxes.models import Account, Mode
from mailbot.lib.console_cells import (
    badge_column,
    link_column,
    list_url,
    moment,
    page_link,
    shortened,
    text_column,
    time_column,
)

REMOVE = Question(
    title="Remove suppressions",
    explanation="Mail may go to these addresses again. One that bounces once more is suppressed once more.",
    warning="Who complained or unsubscribed asked for no more mail. Remove such an entry only when the person asks for it.",
    button="Remove",
    done="suppression(s) removed",
    removes=True,
)
INTRO = "Nothing more is handed over to this address: mail to it alone is refused, of other mail it is left out."
IMPORT_INTRO = "Addresses that another system does not write to any more. Lines that cannot be read are named, the others are imported."


@admin.display(description="address")
def address(entry: Suppression) -> Any:
    return shortened(entry.address, 60) if entry.address else f"erased person ({entry.person or 'unnamed'})"


@admin.display(description="scope")
def whose_mail(entry: Suppression) -> str:
    return f"domain {entry.domain}" if entry.scope is Scope.DOMAIN else entry.scope.value


@admin.display(description="stops mail of")
def stops_mail_of(entry: Suppression) -> Any:
    """In one column, so that the table fits a screen of 1280 points."""
    if entry.inbox:
        return page_link("inboxes_inbox", entry.inbox.pk, shortened(entry.inbox.address, 60))
    return shortened(f"all at {entry.domain}", 60) if entry.domain else "the whole account"


@admin.display(description="ends")
def ends_on(entry: Suppression) -> Any:
    return ends(entry) if entry.expires_at is None else format_html("<time>{:%Y-%m-%d}</time>", entry.expires_at)


@admin.display(description="ends")
def ends(entry: Suppression) -> Any:
    if entry.expires_at is None:
        return "never"
    return "over" if entry.is_over(timezone.now()) else moment(entry.expires_at)


@admin.display(description="added by")
def added_by(entry: Suppression) -> Any:
    return shortened(entry.created_by.get("name") or entry.created_by.get("id", ""), 40)


@admin.display(description="message")
def came_from(entry: Suppression) -> Any:
    return page_link("threads_message", entry.message_id, entry.message_id) if entry.message_id else None


class SuppressionAdmin(ConsoleAdmin):
    list_display = [
        address,
        badge_column("cause"),
        stops_mail_of,
        badge_column("mode"),
        link_column("account", "inboxes_account"),
        text_column("reason", length=40),
        ends_on,
        time_column("created_at", "added"),
    ]
    list_select_related = ["account", "inbox"]
    list_filter = [
        choice_filter("cause", "cause", Cause.choices),
        choice_filter("scope", "scope", Scope.choices, lambda rows, value: rows.in_scope(value)),  # type: ignore[attr-defined]
        choice_filter("mode", "mode", Mode.choices),
        AccountFilter,
        InboxFilter,
    ]
    search_fields = ["address", "person", "domain__exact", "inbox__address"]
    search_ids = {"supp": "pk", "inbox": "inbox_id", "account": "account_id", "msg": "message_id"}
    search_window = 100_000
    search_help_text = "Address or a part of it, address of an inbox, a domain, or an id."
    fields = [
        address,
        badge_column("cause"),
        whose_mail,
        link_column("inbox", "inboxes_inbox"),
        badge_column("mode"),
        link_column("account", "inboxes_account"),
        text_column("reason", length=500),
        "status_code",
        came_from,
        ends,
        added_by,
        time_column("created_at", "added"),
        time_column("updated_at", "changed"),
        "id",
    ]
    actions = ["remove_suppressions"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    def get_urls(self) -> Any:
        imports = path("import/", self.admin_site.admin_view(self.import_view), name="delivery_suppression_import")
        return [imports, *super().get_urls()]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        form = SuppressForm(request.POST or None, **self._options(request, "address"))
        if form.is_valid():
            entry, is_new = form.add()
            self.message_user(request, f"{entry.address} is suppressed{'' if is_new else ' already'}.")
            return HttpResponseRedirect(self._page_of(entry))
        return self.form_page(request, form, "Suppress an address", "Suppress", INTRO)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        posted = (request.POST, request.FILES) if request.method == "POST" else (None, None)
        form = ImportForm(*posted, **self._options(request))
        told = form.run() if form.is_valid() else None
        if told is None:
            return self.form_page(request, form, "Import suppressions", "Import", IMPORT_INTRO)
        self.message_user(request, f"{told.added} added.", messages.SUCCESS if told.added else messages.WARNING)
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": "Imported", "told": told}
        return TemplateResponse(request, "admin/delivery/suppression/imported.html", context)

    def _options(self, request: HttpRequest, *also: str) -> dict[str, Any]:
        if not self.has_add_permission(request):
            raise Http404
        accounts = visible(request, Account.objects.order_by("name"), "pk", Can.OPERATE)
        return {"accounts": accounts, "initial": prefilled(request, "domain", *also, inbox_field="inbox")}

    @admin.action(description="Remove…", permissions=["operate"])
    def remove_suppressions(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        answer = self.ask_first(request, queryset, REMOVE, lift)
        # The page of an entry that is gone would be a 404.
        return (
            HttpResponseRedirect(list_url("delivery_suppression"))
            if isinstance(answer, HttpResponseRedirect)
            else answer
        )
