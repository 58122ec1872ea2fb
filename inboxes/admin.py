"""Accounts, inboxes and the trail in the console; keys, members and users come from modules of their own."""

from dataclasses import replace
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils import timezone

from audit.admin import AuditEntryAdmin as TrailAdmin
from audit.models import AuditEntry, Export
from audit.reads import record_read, record_trail_read
from audit.record import Act
from inboxes.console import AccountFilter, ConsoleAdmin, InboxFilter, Question, asked, choice_filter
from inboxes.console_compliance import CompliancePages
from inboxes.console_domains import DomainAdmin
from inboxes.console_exports import ExportAdmin
from inboxes.console_forms import ChooseProviderForm, CreateInboxForm, prefilled
from inboxes.console_holds import LegalHoldAdmin, binding
from inboxes.console_keys import ApiKeyAdmin
from inboxes.console_lists import AddressRuleAdmin, rules_over
from inboxes.console_members import MembershipAdmin
from inboxes.console_retention import ChooseClassForm, RetentionFilter, class_of_inbox
from inboxes.console_roles import Can, Rows, is_superuser, may_in, visible
from inboxes.console_usage import LIMITS, SENDING_OF_INBOX, USED_BY_ACCOUNT, USED_BY_INBOX, servers_own
from inboxes.console_users import ConsoleUserAdmin, MembershipInline
from inboxes.models import (
    Account,
    AddressRule,
    ApiKey,
    Domain,
    DomainStatus,
    Inbox,
    LegalHold,
    Membership,
    Mode,
    Provider,
    RetentionClass,
)
from inboxes.provisioning import change_inbox, delete_inbox, pause, resume
from inboxes.quotas import look_again
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
admin.site.register(ApiKey, ApiKeyAdmin)
admin.site.register(Membership, MembershipAdmin)
admin.site.register(AddressRule, AddressRuleAdmin)
admin.site.register(Domain, DomainAdmin)
admin.site.register(Export, ExportAdmin)
admin.site.register(LegalHold, LegalHoldAdmin)

ModeFilter = choice_filter("mode", "mode", Mode.choices)


def _counted(rows: QuerySet[Any]) -> Any:
    """One subquery a number: joins of two such tables would multiply each other."""
    numbers = (
        rows.filter(account=OuterRef("pk")).order_by().values("account").annotate(number=Count("pk")).values("number")
    )
    return Coalesce(Subquery(numbers, output_field=IntegerField()), 0)


@admin.display(description="living inboxes")
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
    fields = [
        "name",
        *LIMITS,
        "on_unknown",
        "bounce_scope",
        "id",
        inbox_count,
        key_count,
        *USED_BY_ACCOUNT,
        time_column("created_at", "created"),
    ]
    inlines = [MembershipInline]
    ordering = ["name"]

    def get_queryset(self, request: HttpRequest) -> Rows:
        usable = ApiKey.objects.in_status(ApiKey.Status.USABLE, timezone.now())
        living = Inbox.objects.exclude(status=Inbox.Status.DELETED)
        numbers = {
            "inbox_count": _counted(living),
            "key_count": _counted(usable),
            "member_count": _counted(Membership.objects.all()),
        }
        rows: Rows = super().get_queryset(request).annotate(**numbers)
        return rows

    def details(self, request: HttpRequest, row: Account) -> dict[str, Any]:
        return {f"may_{what}": may_in(request, what, row.pk) for what in (Can.MANAGE, Can.SEE_KEYS)}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [field for field in self.fields if field not in ("name", "on_unknown", "bounce_scope", *LIMITS)]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields if obj else ["name", *LIMITS, "on_unknown", "bounce_scope"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        look_again(obj.pk)

    def formfield_for_dbfield(self, db_field: Any, request: Any, **options: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **options)
        if field is not None and db_field.name in LIMITS:
            field.help_text = f"{field.help_text.rstrip('.')} ({servers_own(db_field.name)})."
        return field

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return [MembershipInline] if obj and is_superuser(request) else []

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)


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
RESUME_TRIPPED = replace(
    RESUME,
    explanation="A breaker stopped them, since too much of their mail bounced or was complained about. Their record begins anew.",
    warning="Whatever caused it goes on where nothing was done about it.",
    needs_reason=True,
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
    return badge(
        "expired" if inbox.has_ended(timezone.now()) and inbox.status != inbox.Status.DELETED else inbox.status
    )


@admin.display(description="sent today")
def sends_today(inbox: Inbox) -> str:
    limit = f" of {inbox.daily_send_limit}" if inbox.daily_send_limit is not None else ""
    return f"{inbox.sends_on(timezone.now().date())}{limit}"


@admin.register(Inbox)
class InboxAdmin(CompliancePages):
    list_display = [
        "address",
        text_column("display_name", "name", 30),
        inbox_status,
        badge_column("mode"),
        link_column("account", "inboxes_account"),
        number_column("messages_held", "messages"),
        sends_today,
        time_column("created_at", "created"),
    ]
    list_select_related = ["account"]
    list_filter = [
        choice_filter("status", "status", Inbox.Status.choices),
        ModeFilter,
        DomainFilter,
        AccountFilter,
        RetentionFilter,
    ]
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
                    link_column("own_domain", "inboxes_domain", "domain"),
                    flag_column("track_opens"),
                    flag_column("track_clicks"),
                    link_column("provider", "inboxes_provider"),
                    flag_column("list_unsubscribe", "offers to unsubscribe"),
                    class_of_inbox,
                    sends_today,
                ]
            },
        ),
        ("Use", {"fields": [*USED_BY_INBOX]}),
        ("Sending", {"fields": [*SENDING_OF_INBOX]}),
        (
            "Times",
            {"fields": [time_column(f"{name}_at", name) for name in ("created", "expires", "deleted", "purged")]},
        ),
        ("For its agent", {"fields": ["id", text_column("client_id"), json_column("metadata")]}),
    ]
    actions = ["pause_inboxes", "resume_inboxes", "delete_inboxes"]

    def details(self, request: HttpRequest, row: Inbox) -> dict[str, Any]:
        asked = (Can.MANAGE, Can.SEE_KEYS, Can.REVIEW)
        rights = {f"may_{what}": may_in(request, what, row.account_id) for what in asked}
        domain = row.own_domain
        is_broken = domain is not None and domain.status in (DomainStatus.DEGRADED, DomainStatus.FAILING)
        rights["may_review"] &= not is_superuser(request)
        shown = {"rules": rules_over(row), "holds": binding(row)}
        return {**rights, **shown, "broken_domain": domain if is_broken else None}

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise Http404
        accounts = visible(request, Account.objects.order_by("name"), "pk", Can.OPERATE)
        classes = visible(request, RetentionClass.objects.all(), what=Can.MANAGE)
        form = CreateInboxForm(request.POST or None, accounts=accounts, classes=classes, initial=prefilled(request))
        if form.is_valid() and (inbox := form.create()):
            self.message_user(request, f"{inbox.address} takes mail now.")
            return HttpResponseRedirect(self._page_of(inbox))
        return self.form_page(
            request, form, "Create an inbox", "Create inbox", "It takes mail as soon as it is created."
        )

    def get_urls(self) -> list[Any]:
        own = {"provider": self.provider_view, "retention": self.retention_view}
        pages = [
            path(f"<str:inbox_id>/{name}/", self.admin_site.admin_view(view), name=f"inboxes_inbox_{name}")
            for name, view in own.items()
        ]
        return [*pages, *super().get_urls()]

    def retention_view(self, request: HttpRequest, inbox_id: str) -> HttpResponse:
        """For owners, of a deleted inbox too: what is over goes."""
        inbox = self.get_object(request, inbox_id)
        if not may_in(request, Can.MANAGE, inbox.account_id):
            raise Http404
        classes = RetentionClass.objects.filter(account_id=inbox.account_id)
        form = ChooseClassForm(
            request.POST or None, classes=classes, initial={"retention_class": inbox.retention_class_id}
        )
        if request.method == "POST" and form.is_valid():
            change_inbox(inbox, {"retention_class": form.cleaned_data["retention_class"]})
            return HttpResponseRedirect(self._page_of(inbox))
        intro = "What is over by its times is erased with the next sweep, but for what is under legal hold."
        return self.form_page(request, form, f"How long {inbox.address} keeps what it has", "Choose", intro)

    def provider_view(self, request: HttpRequest, inbox_id: str) -> HttpResponse:
        """For operators: whose credentials these are, they do not see."""
        inbox = self.get_object(request, inbox_id)
        if not may_in(request, Can.OPERATE, inbox.account_id) or inbox.mode != Mode.LIVE:
            raise Http404
        own, shared = Q(account_id=inbox.account_id), Q(account=None)
        usable = Provider.objects.filter(own | shared if is_superuser(request) else own)
        form = ChooseProviderForm(request.POST or None, providers=usable, initial={"provider": inbox.provider_id})
        if request.method == "POST" and form.is_valid():
            change_inbox(inbox, form.changes)
            return HttpResponseRedirect(self._page_of(inbox))
        intro = "What is queued already leaves by the provider that was chosen for it."
        return self.form_page(request, form, f"Choose the provider of {inbox.address}", "Choose", intro)

    @admin.action(description="Pause…", permissions=["operate"])
    def pause_inboxes(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset.filter(status__in=FROM["pause_inboxes"]), PAUSE, pause)

    @admin.action(description="Resume…", permissions=["operate"])
    def resume_inboxes(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        stopped = queryset.filter(status__in=FROM["resume_inboxes"])
        by_breaker = self.changeable(request, stopped).filter(trials_at__isnull=False).exists()
        return self.ask_first(request, stopped, RESUME_TRIPPED if by_breaker else RESUME, resume)

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

    heading = "Audit trail"
    list_act, page_act = Act.AUDIT_READ, Act.AUDIT_READ
    list_filter = [*TrailAdmin.list_filter, AccountFilter, InboxFilter]
    fields = [
        {"account_id": entry_account, "inbox_id": entry_inbox}.get(str(field), field) for field in TrailAdmin.fields
    ]
    label = TrailAdmin.label
    change_form_template = TrailAdmin.change_form_template
    get_search_results = TrailAdmin.get_search_results

    def note_list(self, request: HttpRequest, rows: list[AuditEntry]) -> None:
        """An entry for each account whose trail is shown."""
        of_account: dict[str, list[AuditEntry]] = {}
        for row in rows:
            of_account.setdefault(row.account_id, []).append(row)
        inbox_id = request.GET.get(InboxFilter.parameter_name, "")
        for account_id, entries in of_account.items():
            record_trail_read(entries, account_id=account_id, inbox_id=inbox_id, **asked(request))

    def note_page(self, request: HttpRequest, row: AuditEntry) -> None:
        record_read(Act.AUDIT_READ, "entry", row.public_id, account_id=row.account_id, inbox_id=row.inbox_id)
