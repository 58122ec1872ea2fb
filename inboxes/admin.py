"""Accounts, keys, inboxes, people and the trail in the console."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from audit.admin import AuditEntryAdmin as TrailAdmin
from audit.models import AuditEntry
from inboxes.console import (
    AccountFilter,
    ConsoleAdmin,
    InboxFilter,
    Question,
    Rows,
    choice_filter,
    is_superuser,
    operable,
    visible,
)
from inboxes.console_forms import CreateInboxForm, IssueKeyForm
from inboxes.console_users import ConsoleUserAdmin, MembershipInline
from inboxes.keys import revoke_key
from inboxes.models import Account, ApiKey, Inbox, Membership, Mode
from inboxes.provisioning import delete_inbox, pause, resume
from mailbot.lib.console_cells import (
    NOTHING,
    badge,
    badge_column,
    flag_column,
    json_column,
    link_column,
    number_column,
    page_link,
    text_column,
    time_column,
)

admin.site.unregister(Group)  # what a user may do follows from memberships alone
admin.site.unregister(get_user_model())
admin.site.register(get_user_model(), ConsoleUserAdmin)

ModeFilter = choice_filter("mode", "mode", Mode.choices)


def _counted(rows: QuerySet[Any]) -> Any:
    """One subquery a number: joins of two such tables would multiply each other."""
    numbers = (
        rows.filter(account=OuterRef("pk")).order_by().values("account").annotate(number=Count("pk")).values("number")
    )
    return Coalesce(Subquery(numbers, output_field=IntegerField()), 0)


@admin.display(description="inboxes")
def inbox_count(account: Any) -> Any:
    return account.inbox_count


@admin.display(description="usable keys")
def key_count(account: Any) -> Any:
    return account.key_count


@admin.display(description="people")
def member_count(account: Any) -> Any:
    return account.member_count


@admin.register(Account)
class AccountAdmin(ConsoleAdmin):
    account_path = "pk"
    list_display = ["name", inbox_count, key_count, member_count, time_column("created_at", "created"), "id"]
    search_fields = ["name"]
    search_ids = {"account": "pk"}
    change_form_template = "admin/inboxes/account/change_form.html"
    fields = ["name", "id", inbox_count, key_count, time_column("created_at", "created")]
    inlines = [MembershipInline]
    ordering = ["name"]

    def get_queryset(self, request: HttpRequest) -> Rows:
        now = timezone.now()
        usable = ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
        living = Inbox.objects.exclude(status=Inbox.Status.DELETED)
        numbers = {
            "inbox_count": _counted(living),
            "key_count": _counted(usable),
            "member_count": _counted(Membership.objects.all()),
        }
        rows: Rows = super().get_queryset(request).annotate(**numbers)
        return rows

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return list(self.fields[1:])

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj else ["name"]

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return [MembershipInline] if obj and is_superuser(request) else []

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)


@admin.display(description="state")
def key_state(key: ApiKey) -> Any:
    return badge("revoked" if key.revoked_at else "usable" if key.is_usable(timezone.now()) else "expired")


def _in_state(keys: Rows, state: str) -> Rows:
    over = Q(expires_at__lte=timezone.now())
    narrow = {
        "usable": Q(revoked_at=None) & ~over,
        "revoked": Q(revoked_at__isnull=False),
        "expired": Q(revoked_at=None) & over,
    }
    return keys.filter(narrow.get(state, Q()))


REVOKE = Question(
    title="Revoke API keys",
    explanation="From the next request on, whoever uses such a key is answered 401. This cannot be taken back.",
    button="Revoke",
    done="API key(s) revoked",
    needs_reason=False,
)


@admin.register(ApiKey)
class ApiKeyAdmin(ConsoleAdmin):
    """Read, issued and revoked; never edited and never removed, so that the trail keeps what its entries point to."""

    list_display = [
        "name",
        text_column("prefix"),
        badge_column("mode"),
        key_state,
        link_column("account", "inboxes_account"),
        link_column("inbox", "inboxes_inbox"),
        time_column("last_used_at", "last used"),
        time_column("expires_at", "expires"),
    ]
    list_select_related = ["account", "inbox"]
    list_filter = [
        choice_filter("state", "state", [(s, s) for s in ("usable", "revoked", "expired")], _in_state),
        ModeFilter,
        AccountFilter,
        InboxFilter,
    ]
    search_fields = ["name", "prefix__startswith", "inbox__address"]
    search_ids = {"key": "pk", "inbox": "inbox_id", "account": "account_id"}
    search_help_text = "Name, beginning of the key, address of its inbox, or an id."
    fields = [
        "name",
        "id",
        text_column("prefix"),
        key_state,
        badge_column("mode"),
        link_column("account", "inboxes_account"),
        link_column("inbox", "inboxes_inbox"),
        json_column("permissions"),
        time_column("created_at", "created"),
        time_column("last_used_at", "last used"),
        time_column("expires_at", "expires"),
        time_column("revoked_at", "revoked"),
    ]
    actions = ["revoke"]

    def get_queryset(self, request: HttpRequest) -> Rows:
        return super().get_queryset(request).defer("digest")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    @sensitive_variables("secret")
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The secret is in the answer to this POST and nowhere else."""
        if not self.has_add_permission(request):
            raise Http404
        accounts = operable(request, Account.objects.order_by("name"), "pk")
        form = IssueKeyForm(request.POST or None, accounts=accounts, initial=_prefilled(request))
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
            "secret": secret,
        }
        return TemplateResponse(request, "admin/inboxes/apikey/issued.html", context).render()

    @admin.action(description="Revoke…", permissions=["operate"])
    def revoke(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset.filter(revoked_at=None), REVOKE, lambda key, reason: revoke_key(key))

    def offers(self, action: str, row: ApiKey) -> bool:
        return row.revoked_at is None


def _prefilled(request: HttpRequest) -> dict[str, Any]:
    """From the links on the pages of an account or inbox."""
    given: dict[str, Any] = {name: request.GET[name] for name in ("account", "mode") if name in request.GET}
    if inbox := visible(request, Inbox.objects.filter(pk=request.GET.get("inbox", "")[:40].replace("\0", ""))).first():
        given |= {"account": inbox.account_id, "mode": inbox.mode, "inbox": inbox.address}
    return given


PAUSE = Question(
    title="Pause inboxes",
    explanation="They send nothing until they are resumed; what is queued is blocked when its turn comes. Mail still comes in.",
    button="Pause",
    done="inbox(es) paused",
)
RESUME = Question(
    title="Resume inboxes",
    explanation="They may send again.",
    button="Resume",
    done="inbox(es) resumed",
    needs_reason=False,
)
DELETE = Question(
    title="Delete inboxes",
    explanation="Their addresses refuse mail from now on. What they hold stays readable here.",
    warning="This cannot be taken back: the address comes free, for other accounts after 90 days.",
    button="Delete",
    done="inbox(es) deleted",
)
FROM = {
    "pause_inboxes": [Inbox.Status.ACTIVE, Inbox.Status.TRIPPED],
    "resume_inboxes": [Inbox.Status.PAUSED, Inbox.Status.TRIPPED],
    "delete_inboxes": [Inbox.Status.ACTIVE, Inbox.Status.PAUSED, Inbox.Status.TRIPPED],
}
NEWEST_FOR_DOMAINS = 1000


class DomainFilter(admin.SimpleListFilter):
    title = "domain"
    parameter_name = "domain"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        """Those of the newest inboxes: the whole table would have to be read for all of them."""
        newest = visible(request, Inbox.objects.order_by("-pk")).values_list("domain", flat=True)[:NEWEST_FOR_DOMAINS]
        return [(domain, domain) for domain in sorted(set(newest))[:20]]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        value = self.value()
        return queryset if value is None else queryset.filter(domain=value.replace("\0", ""))


@admin.display(description="status")
def inbox_status(inbox: Inbox) -> Any:
    return badge(inbox.status)


@admin.display(description="sent today")
def sends_today(inbox: Inbox) -> str:
    limit = f" of {inbox.daily_send_limit}" if inbox.daily_send_limit is not None else ""
    return f"{inbox.sends_on(timezone.now().date())}{limit}"


@admin.register(Inbox)
class InboxAdmin(ConsoleAdmin):
    list_display = [
        "address",
        text_column("display_name", "name", 30),
        inbox_status,
        badge_column("mode"),
        link_column("account", "inboxes_account"),
        number_column("message_count", "messages"),
        sends_today,
        time_column("created_at", "created"),
    ]
    list_select_related = ["account"]
    list_filter = [choice_filter("status", "status", Inbox.Status.choices), ModeFilter, DomainFilter, AccountFilter]
    search_fields = ["address", "display_name"]
    search_ids = {"inbox": "pk", "account": "account_id"}
    search_help_text = "Address, name, or an id."
    change_form_template = "admin/inboxes/inbox/change_form.html"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "address",
                    text_column("display_name"),
                    inbox_status,
                    text_column("status_reason", "why", 500),
                ]
            },
        ),
        (
            None,
            {
                "fields": [
                    badge_column("mode"),
                    link_column("account", "inboxes_account"),
                    flag_column("oversight"),
                    sends_today,
                ]
            },
        ),
        (
            "Times",
            {"fields": [time_column(f"{name}_at", name) for name in ("created", "expires", "deleted", "purged")]},
        ),
        ("For its agent", {"fields": ["id", text_column("client_id"), json_column("metadata")]}),
    ]
    actions = ["pause_inboxes", "resume_inboxes", "delete_inboxes"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise Http404
        accounts = operable(request, Account.objects.order_by("name"), "pk")
        form = CreateInboxForm(request.POST or None, accounts=accounts, initial=_prefilled(request))
        if form.is_valid() and (inbox := form.create()):
            self.message_user(request, f"{inbox.address} takes mail now.")
            return HttpResponseRedirect(self._page_of(inbox))
        return self.form_page(
            request, form, "Create an inbox", "Create inbox", "It takes mail as soon as it is created."
        )

    @admin.action(description="Pause…", permissions=["operate"])
    def pause_inboxes(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset.filter(status__in=FROM["pause_inboxes"]), PAUSE, pause)

    @admin.action(description="Resume…", permissions=["operate"])
    def resume_inboxes(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset.filter(status__in=FROM["resume_inboxes"]), RESUME, resume)

    @admin.action(description="Delete…", permissions=["operate"])
    def delete_inboxes(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset.filter(status__in=FROM["delete_inboxes"]), DELETE, delete_inbox)

    def offers(self, action: str, row: Inbox) -> bool:
        return row.status in FROM[action]


@admin.display(description="account")
def entry_account(entry: AuditEntry) -> Any:
    return page_link("inboxes_account", entry.account_id, entry.account_id) if entry.account_id else NOTHING


@admin.display(description="inbox")
def entry_inbox(entry: AuditEntry) -> Any:
    return page_link("inboxes_inbox", entry.inbox_id, entry.inbox_id) if entry.inbox_id else NOTHING


@admin.register(AuditEntry)
class AuditEntryAdmin(ConsoleAdmin, TrailAdmin):
    """The trail within the accounts of the user; entries of no account are for superusers."""

    list_filter = [*TrailAdmin.list_filter, AccountFilter, InboxFilter]
    fields = [
        {"account_id": entry_account, "inbox_id": entry_inbox}.get(str(field), field) for field in TrailAdmin.fields
    ]
    label = TrailAdmin.label
    change_form_template = TrailAdmin.change_form_template
    get_search_results = TrailAdmin.get_search_results
