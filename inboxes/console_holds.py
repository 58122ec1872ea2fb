"""Legal holds in the console: who holds what, placing and releasing."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from inboxes.console import AccountFilter, ConsoleAdmin, InboxFilter, Question, choice_filter
from inboxes.console_forms import AccountForm, prefilled
from inboxes.console_roles import Can, Rows, visible
from inboxes.hold_models import LONGEST_MATTER, LONGEST_REASON
from inboxes.holds import holds_on, place, release
from inboxes.models import Account, Inbox, LegalHold
from mailbot.lib.console_cells import badge, link_column, page_link, shortened, text_column, time_column
from mailbot.lib.stray_keys import refuse_key

RELEASE = Question(
    title="Release holds",
    explanation="What they kept may be deleted, purged and erased again, unless another hold is there.",
    warning="What is over by its retention class, or whose inbox was to be purged, goes with the next sweep.",
    button="Release",
    done="hold(s) released",
)
INTRO = (
    "While it is in force, nothing of the inbox is deleted, purged, erased or removed because its time is over. Mail still comes in and"
    " goes out."
)
STATES = [("active", "in force"), ("released", "released")]


class PlaceHoldForm(AccountForm):
    inbox = forms.CharField(
        max_length=254,
        required=False,
        widget=forms.TextInput(attrs={"size": 40}),
        help_text="Address or id; of a deleted one its id. Empty: all inboxes of the account, test and live, later ones too.",
    )
    matter = forms.CharField(
        max_length=LONGEST_MATTER,
        widget=forms.TextInput(attrs={"size": 50}),
        validators=[refuse_key],
        help_text="The name of the case. Whoever is refused a deletion reads it.",
    )
    reason = forms.CharField(
        max_length=LONGEST_REASON,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 50}),
        validators=[refuse_key],
        help_text="Kept in the audit trail.",
    )
    field_order = ["account", "inbox", "matter", "reason"]

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        given["found_inbox"] = None
        if (wanted := given.get("inbox", "").strip()) and "account" in given:
            given["found_inbox"] = _inbox_of(given["account"], wanted)
            if given["found_inbox"] is None:
                self.add_error("inbox", "This account has no such inbox.")
        return given

    def place(self) -> LegalHold:
        given = self.cleaned_data
        return place(given["account"], inbox=given["found_inbox"], matter=given["matter"], reason=given["reason"])


def _inbox_of(account: Account, wanted: str) -> Inbox | None:
    """By id any; by address the living one."""
    mine = Inbox.objects.filter(account=account)
    if wanted.startswith("inbox_"):
        return mine.filter(pk=wanted).first()
    return mine.exclude(status=Inbox.Status.DELETED).filter(address=wanted.lower()).first()


@admin.display(description="status")
def state(hold: LegalHold) -> Any:
    return badge("in force" if hold.is_in_force else "released")


@admin.display(description="covers")
def covers(hold: LegalHold) -> Any:
    return page_link("inboxes_inbox", hold.inbox_id, shortened(str(hold.inbox), 60)) if hold.inbox else "all inboxes"


def binding(inbox: Inbox) -> list[LegalHold]:
    """Those in force on an inbox, for its page."""
    return list(holds_on(inbox)[:20])


class LegalHoldAdmin(ConsoleAdmin):
    heading = "Legal holds"
    to_change = Can.MANAGE
    list_display = [
        text_column("matter", length=60),
        state,
        covers,
        link_column("account", "inboxes_account"),
        time_column("placed_at", "placed"),
        text_column("placed_by", "by", 40),
        time_column("released_at", "released"),
    ]
    list_select_related = ["account", "inbox"]
    list_filter = [
        choice_filter(
            "state", "status", STATES, lambda rows, value: rows.filter(released_at__isnull=value == "active")
        ),
        AccountFilter,
        InboxFilter,
    ]
    search_fields = ["matter", "inbox__address"]
    search_ids = {"hold": "pk", "inbox": "inbox_id", "account": "account_id"}
    search_help_text = "Matter, address of an inbox, or an id."
    fieldsets = [
        (None, {"fields": [state, covers, link_column("account", "inboxes_account"), "id"]}),
        (
            None,
            {
                "fields": [
                    text_column("reason", length=LONGEST_REASON),
                    time_column("placed_at", "placed"),
                    text_column("placed_by"),
                    time_column("released_at", "released"),
                    text_column("released_by"),
                    text_column("release_reason", "why released", LONGEST_REASON),
                ]
            },
        ),
    ]
    actions = ["release_holds"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise Http404
        accounts = visible(request, Account.objects.order_by("name"), "pk", Can.MANAGE)
        given = prefilled(request, inbox_field="inbox")
        given |= (
            {"inbox": request.GET["inbox"]} if given.get("inbox") else {}
        )  # its id: an address may have been another's
        form = PlaceHoldForm(request.POST or None, accounts=accounts, initial=given)
        if form.is_valid():
            hold = form.place()
            self.message_user(request, f"The hold “{hold.matter}” is in force.")
            return HttpResponseRedirect(self._page_of(hold))
        return self.form_page(request, form, "Place a legal hold", "Place hold", INTRO)

    @admin.action(description="Release…", permissions=["operate"])
    def release_holds(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        in_force = queryset.filter(released_at=None)
        return self.ask_first(request, in_force, RELEASE, lambda hold, reason: release(hold, reason=reason))

    def offers(self, action: str, row: LegalHold) -> bool:
        return row.is_in_force
