"""The lists of addresses in the console: read, added to and taken from. An entry is never edited."""

from typing import Any

from django.contrib import admin
from django.db.models import F, Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from inboxes.console import AccountFilter, ConsoleAdmin, InboxFilter, Question, choice_filter
from inboxes.console_forms import AddRuleForm, prefilled
from inboxes.console_roles import Can, Rows, visible
from inboxes.lists import remove_entry
from inboxes.models import Account, AddressRule, Inbox, Mode
from mailbot.lib.console_cells import badge_column, link_column, list_url, shortened, text_column, time_column

REMOVE = Question(
    title="Remove entries",
    explanation="The next mail is decided without them. An allow list without entries allows everybody.",
    button="Remove",
    done="entry or entries removed",
    needs_reason=False,
)
INTRO = "It counts from the next mail on. What was set aside before stays so, until somebody accepts it on its page."
MOST_SHOWN = 100


@admin.display(description="added by")
def added_by(rule: AddressRule) -> Any:
    return shortened(rule.created_by.get("name") or rule.created_by.get("id", ""), 40)


class AddressRuleAdmin(ConsoleAdmin):
    heading = "Lists"
    list_display = [
        text_column("pattern"),
        badge_column("direction"),
        badge_column("effect"),
        badge_column("mode"),
        link_column("account", "inboxes_account"),
        link_column("inbox", "inboxes_inbox"),
        text_column("note", length=60),
        added_by,
        time_column("created_at", "added"),
    ]
    list_select_related = ["account", "inbox"]
    list_filter = [
        choice_filter("direction", "direction", AddressRule.Direction.choices),
        choice_filter("effect", "effect", AddressRule.Effect.choices),
        choice_filter(
            "level",
            "level",
            [("inbox", "of an inbox"), ("account", "of the account")],
            lambda rows, value: rows.filter(inbox__isnull=value == "account"),
        ),
        choice_filter("mode", "mode", Mode.choices),
        AccountFilter,
        InboxFilter,
    ]
    search_fields = ["pattern", "note", "inbox__address"]
    search_ids = {"rule": "pk", "inbox": "inbox_id", "account": "account_id"}
    search_help_text = "Address or domain, note, address of an inbox, or an id."
    fields = [
        text_column("pattern", length=254),
        "id",
        badge_column("direction"),
        badge_column("effect"),
        badge_column("mode"),
        link_column("account", "inboxes_account"),
        link_column("inbox", "inboxes_inbox"),
        text_column("note", length=500),
        added_by,
        time_column("created_at", "added"),
    ]
    actions = ["remove_entries"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise Http404
        accounts = visible(request, Account.objects.order_by("name"), "pk", Can.OPERATE)
        given = prefilled(request, "direction", "effect", "pattern", inbox_field="inbox")
        form = AddRuleForm(request.POST or None, accounts=accounts, initial=given)
        if form.is_valid() and (added := form.add()):
            entry, is_new = added
            self.message_user(request, f"{entry.pattern} is on the list{'' if is_new else ' already'}.")
            return HttpResponseRedirect(self._page_of(entry))
        return self.form_page(request, form, "Add to a list", "Add entry", INTRO)

    @admin.action(description="Remove…", permissions=["operate"])
    def remove_entries(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        answer = self.ask_first(request, queryset, REMOVE, lambda entry, reason: remove_entry(entry))
        # The page of an entry that is gone would be a 404.
        return HttpResponseRedirect(list_url("inboxes_addressrule")) if _is_redirect(answer) else answer


def _is_redirect(answer: HttpResponse | None) -> bool:
    return isinstance(answer, HttpResponseRedirect)


def rules_over(inbox: Inbox) -> Rows:
    """Its own and its account's, those that decide first on top; a hundred of them."""
    rules = AddressRule.objects.filter(account_id=inbox.account_id, mode=inbox.mode)
    own_first = F("inbox_id").asc(nulls_last=True)
    return rules.filter(Q(inbox=inbox) | Q(inbox=None)).order_by("direction", own_first, "effect", "-id")[:MOST_SHOWN]
