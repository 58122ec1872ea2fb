"""Exports in the console: asked for with a reason, watched, downloaded.

Whoever sees the trail may take it away; one with mail in it is for those who may read what mail says.
"""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect

from audit import export_sources
from audit.exports import (
    MOST_UNFINISHED,
    UNFINISHED,
    NotThere,
    TooManyExports,
    ask_for_export,
    begin_download,
    filename_of,
    octets_of_export,
)
from audit.models import Export
from inboxes.console import AccountFilter, ConsoleAdmin, InboxFilter, choice_filter
from inboxes.console_forms import AccountForm, prefilled
from inboxes.console_reviews import may_read, readable, review_in
from inboxes.console_roles import Can, Rows, visible
from inboxes.models import Account, Inbox
from mailbot.api.streaming import streamed
from mailbot.lib.console_cells import (
    NOTHING,
    badge_column,
    number_column,
    page_link,
    shortened,
    text_column,
    time_column,
)
from mailbot.lib.stray_keys import refuse_key

INTRO = (
    "A zip that proves itself without this server. It is made in the background and can be downloaded for a while;"
    " the trail tells who asked and who downloaded."
)
UTC_WIDGET = {"type": "datetime-local"}


class ExportForm(AccountForm):
    inbox = forms.CharField(
        max_length=254,
        required=False,
        widget=forms.TextInput(attrs={"size": 40}),
        help_text="Address or id, of a deleted one its id. Empty: the whole account, which proves that nothing was left out.",
    )
    since = forms.DateTimeField(
        label="From, in UTC", required=False, widget=forms.DateTimeInput(attrs=UTC_WIDGET), help_text="Empty: all."
    )
    until = forms.DateTimeField(
        label="Before, in UTC", required=False, widget=forms.DateTimeInput(attrs=UTC_WIDGET), help_text="Empty: all."
    )
    include = forms.MultipleChoiceField(
        label="Beside the trail",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Only with the right to read mail of the account.",
    )
    reason = forms.CharField(
        max_length=500,
        widget=forms.TextInput(attrs={"size": 70}),
        validators=[refuse_key],
        help_text="Kept in the audit trail and in the export.",
    )

    def __init__(self, *args: Any, request: HttpRequest, **options: Any) -> None:
        super().__init__(*args, **options)
        self.request = request
        choices = [(name, part.label) for name, part in sorted(export_sources.parts.items())]
        self.fields["include"].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        account, wanted = given.get("account"), given.get("inbox", "").strip()
        if account and wanted:
            given["inbox_id"] = self._inbox_id(account, wanted)
        if account and given.get("include") and not may_read(self.request, account.pk, given.get("inbox_id") or ""):
            self.add_error(
                "include", "You may read this mail only in a review of its inbox, which has to be named above."
            )
        if given.get("since") and given.get("until") and given["since"] >= given["until"]:
            self.add_error("until", "This is not after the first moment.")
        return given

    def _inbox_id(self, account: Account, wanted: str) -> str | None:
        known = Inbox.objects.filter(account=account).filter(Q(pk=wanted) | Q(address=wanted.lower()))
        found = known.order_by("-pk").values_list("pk", flat=True).first()
        if found is None:
            self.add_error("inbox", "This account has no such inbox.")
        return found

    def ask(self) -> Export | None:
        """None when it cannot be asked for, which the form then says."""
        given = self.cleaned_data
        try:
            return ask_for_export(
                account_id=given["account"].pk,
                inbox_id=given.get("inbox_id") or "",
                mode="",
                since=given["since"],
                until=given["until"],
                include=given["include"],
                reason=given["reason"],
                told=self._review(given),
            )
        except TooManyExports:
            self.add_error(None, f"This account waits for {MOST_UNFINISHED} exports already.")
            return None

    def _review(self, given: dict[str, Any]) -> dict[str, str]:
        """With mail in it, by a reviewer: in which review he asks."""
        review = review_in(self.request, given.get("inbox_id") or "") if given["include"] else None
        return {"review": review.entry_id} if review else {}


@admin.display(description="account")
def account(export: Export) -> Any:
    return page_link("inboxes_account", export.account_id, export.account_id)


@admin.display(description="inbox")
def inbox(export: Export) -> Any:
    return page_link("inboxes_inbox", export.inbox_id, export.inbox_id) if export.inbox_id else "all"


@admin.display(description="progress")
def progress(export: Export) -> str:
    return f"{export.progress} %"


@admin.display(description="beside the trail")
def included(export: Export) -> str:
    known = (export_sources.parts.get(name) for name in export.included)
    return ", ".join(part.label for part in known if part) or NOTHING


@admin.display(description="asked by")
def asked_by(export: Export) -> Any:
    return shortened(f"{export.actor_name or export.actor_id} ({export.actor_kind.replace('_', ' ')})", 60)


class ExportAdmin(ConsoleAdmin):
    heading = "Exports"
    to_change = Can.SEE
    list_display = [
        time_column("created_at", "asked"),
        badge_column("status"),
        progress,
        inbox,
        included,
        text_column("reason", length=60),
        asked_by,
        number_column("size", "octets"),
    ]
    list_filter = [choice_filter("status", "status", Export.Status.choices), AccountFilter, InboxFilter]
    search_fields = ["reason"]
    search_ids = {"export": "pk", "inbox": "inbox_id", "account": "account_id"}
    search_help_text = "A part of the reason, or an id."
    change_form_template = "admin/audit/export/change_form.html"
    fields = [
        badge_column("status"),
        progress,
        text_column("error", length=500),
        account,
        inbox,
        text_column("mode"),
        time_column("since", "from"),
        time_column("until", "before"),
        included,
        text_column("reason", length=500),
        asked_by,
        time_column("created_at", "asked"),
        time_column("finished_at", "finished"),
        time_column("expires_at", "can be downloaded until"),
        number_column("entries", "entries"),
        number_column("size", "octets"),
        text_column("sha256", "SHA-256", 64),
        number_column("downloads", "downloads"),
        "id",
    ]
    actions = ["download"]

    def changeable(self, request: HttpRequest, rows: Rows) -> Rows:
        """What can be downloaded by this user."""
        return readable(request, rows) | visible(request, rows.filter(include=""))

    def offers(self, action: str, row: Export) -> bool:
        return row.status == Export.Status.DONE

    def details(self, request: HttpRequest, row: Export) -> dict[str, Any]:
        return {"is_under_way": row.status in UNFINISHED}

    def label(self, row: Export) -> str:
        return f"{row.reason[:100]} · {row.created_at:%Y-%m-%d %H:%M}"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise Http404
        accounts = visible(request, Account.objects.order_by("name"), "pk", Can.SEE)
        initial = prefilled(request, "since", "until", inbox_field="inbox")
        form = ExportForm(request.POST or None, request=request, accounts=accounts, initial=initial)
        if form.is_valid() and (export := form.ask()):
            self.message_user(request, "It is made now. This page shows how far it is.")
            return HttpResponseRedirect(self._page_of(export))
        return self.form_page(request, form, "Export the audit trail", "Export", INTRO)

    @admin.action(description="Download", permissions=["operate"])
    def download(self, request: HttpRequest, queryset: Rows) -> HttpResponseBase | None:
        export = self.changeable(request, queryset).first() if queryset.count() == 1 else None
        try:
            if export is not None:
                review = review_in(request, export.inbox_id) if export.include else None
                begin_download(export, {"review": review.entry_id} if review else {})
                return streamed(request, octets_of_export(export), "application/zip", filename_of(export))
        except NotThere:
            pass
        self.message_user(request, "Choose one that is finished and that you may read.", messages.WARNING)
        return None
