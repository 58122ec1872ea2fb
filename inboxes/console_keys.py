"""API keys in the console: read, issued and revoked."""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.db.models.fields.json import KT
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_variables

from inboxes.console import AccountFilter, ConsoleAdmin, InboxFilter, Question, choice_filter
from inboxes.console_forms import IssueKeyForm, prefilled
from inboxes.console_roles import Can, Rows, visible
from inboxes.keys import revoke_key
from inboxes.models import Account, ApiKey, Inbox, Mode
from inboxes.permissions import RIGHTS
from mailbot.lib.console_cells import badge, badge_column, link_column, page_link, shortened, text_column, time_column

ALL_INBOXES = "all of the account in this mode"
MOST_SHOWN = 100

REVOKE = Question(
    title="Revoke API keys",
    explanation="From the next request on, whoever uses such a key is answered 401. This cannot be taken back.",
    button="Revoke",
    done="API key(s) revoked",
    needs_reason=False,
)


@admin.display(description="status")
def key_status(key: ApiKey) -> Any:
    return badge(key.status(timezone.now()).value)


@admin.display(description="inboxes")
def key_inboxes(key: Any) -> Any:
    """In a list: the first one by its address, which comes with the row."""
    if key.inbox_ids is None:
        return "all"
    if not key.inbox_ids:
        return "none"
    others = len(key.inbox_ids) - 1
    return shortened((key.first_address or key.inbox_ids[0]) + (f" and {others} more" if others else ""), 50)


@admin.display(description="inboxes")
def named_inboxes(key: ApiKey) -> Any:
    """On the page of one key: each with a link."""
    if key.inbox_ids is None:
        return ALL_INBOXES
    found = Inbox.objects.filter(account_id=key.account_id, pk__in=key.inbox_ids).order_by("address")[:MOST_SHOWN]
    links = [(page_link("inboxes_inbox", inbox.pk, shortened(inbox.address, 60)),) for inbox in found]
    return format_html_join(SafeString("<br>"), "{}", links) or "none"


@admin.display(description="rights")
def rights(key: ApiKey) -> Any:
    told = [(right, RIGHTS.get(right, "Not known to this version.")) for right in key.permissions]
    return format_html_join(SafeString("<br>"), '<code title="{1}">{0}</code>', told) or "none"


def _in_status(keys: Any, status: str) -> Rows:
    found: Rows = keys.in_status(status, timezone.now()) if status in ApiKey.Status.values else keys
    return found


class KeyInboxFilter(InboxFilter):
    """Keys that are limited to inboxes, this one among them."""

    column = "inbox_ids__has_item"


class ApiKeyAdmin(ConsoleAdmin):
    """Never edited and never removed, so that the trail keeps what its entries point to."""

    to_see = Can.SEE_KEYS
    to_change = Can.MANAGE
    list_display = [
        "name",
        text_column("prefix"),
        badge_column("mode"),
        key_status,
        link_column("account", "inboxes_account"),
        key_inboxes,
        time_column("last_used_at", "last used"),
        time_column("expires_at", "expires"),
    ]
    list_select_related = ["account"]
    list_filter = [
        choice_filter(
            "status",
            "status",
            ApiKey.Status.choices,
            _in_status,
        ),
        choice_filter("mode", "mode", Mode.choices),
        AccountFilter,
        KeyInboxFilter,
    ]
    search_fields = ["name", "prefix__startswith"]
    search_ids = {"key": "pk", "inbox": "inbox_ids__has_item", "account": "account_id"}
    search_help_text = "Name, the first twelve characters of the key, or an id."
    fields = [
        "name",
        "id",
        text_column("prefix"),
        key_status,
        badge_column("mode"),
        link_column("account", "inboxes_account"),
        named_inboxes,
        rights,
        time_column("created_at", "created"),
        time_column("last_used_at", "last used"),
        time_column("expires_at", "expires"),
        time_column("revoked_at", "revoked"),
    ]
    actions = ["revoke"]

    def get_queryset(self, request: HttpRequest) -> Rows:
        """With the address of the first inbox, so that a list asks once."""
        first = Subquery(Inbox.objects.filter(pk=OuterRef("first_inbox_id")).values("address"))
        keys = super().get_queryset(request).defer("digest").annotate(first_inbox_id=KT("inbox_ids__0"))
        told: Rows = keys.annotate(first_address=first)
        return told

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    @sensitive_variables("secret")
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The secret is in the answer to this POST and nowhere else."""
        if not self.has_add_permission(request):
            raise Http404
        accounts = visible(request, Account.objects.order_by("name"), "pk", Can.MANAGE)
        form = IssueKeyForm(request.POST or None, accounts=accounts, initial=prefilled(request))
        if not form.is_valid():
            intro = "The secret is shown once, on the next page. Only its digest is kept."
            return self.form_page(request, form, "Issue an API key", "Issue key", intro)
        with transaction.atomic():
            key, secret = form.issue()
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "API key issued",
            "key": key,
            "inboxes": named_inboxes(key),
            "secret": secret,
        }
        return TemplateResponse(request, "admin/inboxes/apikey/issued.html", context).render()

    @admin.action(description="Revoke…", permissions=["operate"])
    def revoke(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset.filter(revoked_at=None), REVOKE, revoke_key)

    def offers(self, action: str, row: ApiKey) -> bool:
        return row.revoked_at is None
