"""Domains in the console: what to publish, what was found, and the acts of their owners."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path

from inboxes.console import AccountFilter, ConsoleAdmin, Question, choice_filter
from inboxes.console_forms import AccountForm, ChooseProviderForm, prefilled
from inboxes.console_roles import Can, Rows, is_superuser, may, may_in, visible
from inboxes.dns_records import Purpose
from inboxes.domain_checks import DomainTaken, ask, broken_records, default_provider, records_now, take_in
from inboxes.domain_keys import add_key, new_key
from inboxes.domain_zone import zone_file
from inboxes.domains import (
    DomainInUse,
    DomainKnown,
    DomainRefused,
    add_domain,
    change_domain,
    delete_domain,
    living_on,
    next_step,
    shown,
)
from inboxes.models import Account, Domain, DomainStatus, Provider
from mailbot.lib.addresses import AddressError
from mailbot.lib.console_cells import (
    badge_column,
    flag_column,
    link_column,
    list_url,
    text_column,
    time_column,
)
from mailbot.lib.stray_keys import refuse_key

MOST_VERIFIED = 5  # at once: each may take as long as DNS may
OF_OWNERS = ("rotate_keys", "delete_domains")
LABELS = {Purpose.RETURN_PATH: "return path", Purpose.OWNERSHIP: "ownership"}
ROTATE = Question(
    title="Make new DKIM keys",
    explanation="Publish the record of the new key: it signs once DNS has it, until then the old one does. Leave that there for a week.",
    button="Make new key",
    done="new key(s) to be published",
    needs_reason=False,
)
DELETE = Question(
    title="Delete domains",
    explanation="One on which active inboxes are is not deleted. Its DKIM key goes with it; added again, it gets another one.",
    warning="Mail for it is no longer taken.",
    button="Delete",
    done="domain(s) deleted",
    removes=True,
)


class AddDomainForm(AccountForm):
    domain = forms.CharField(max_length=254, widget=forms.TextInput(attrs={"size": 40}), validators=[refuse_key])
    inbox_subdomains = forms.BooleanField(
        label="A subdomain for each inbox", required=False, help_text="support@support.shop.example"
    )

    def add(self) -> Domain | None:
        """The domain; None when it cannot be added, which the form then says."""
        given = self.cleaned_data
        try:
            domain = add_domain(given["account"], given["domain"], new_key())
        except (DomainKnown, DomainRefused, AddressError) as error:
            self.add_error("domain", str(error))
            return None
        return change_domain(domain, {"inbox_subdomains": True}) if given["inbox_subdomains"] else domain


class ChangeDomainForm(ChooseProviderForm):
    inbox_subdomains = forms.BooleanField(
        label="A subdomain for each new inbox", required=False, help_text="support@support.shop.example"
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["provider"].help_text = "Who carries the mail of its inboxes on, where they name none."


@admin.display(description="active inboxes")
def inboxes_on(domain: Domain) -> int:
    return living_on(domain).count()


class DomainAdmin(ConsoleAdmin):
    heading = "Domains"
    list_display = [
        text_column("domain"),
        badge_column("status"),
        link_column("account", "inboxes_account"),
        flag_column("inbox_subdomains", "subdomains"),
        time_column("verified_at", "verified"),
        time_column("checked_at", "checked"),
    ]
    list_select_related = ["account", "provider"]
    list_filter = [choice_filter("status", "status", DomainStatus.choices), AccountFilter]
    search_fields = ["domain"]
    search_ids = {"dom": "pk", "account": "account_id"}
    search_help_text = "Domain, or an id."
    change_form_template = "admin/inboxes/domain/change_form.html"
    fieldsets = [
        (
            None,
            {"fields": [badge_column("status"), link_column("account", "inboxes_account"), inboxes_on, "id"]},
        ),
        (
            None,
            {
                "fields": [
                    link_column("provider", "inboxes_provider"),
                    flag_column("inbox_subdomains", "a subdomain for each inbox"),
                    time_column("verified_at", "verified"),
                    time_column("checked_at", "checked"),
                    time_column("proof_lost_at", "proof gone since"),
                ]
            },
        ),
    ]
    actions = ["verify_domains", "rotate_keys", "delete_domains"]

    # --- Who may what ---

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """What actions ask for by `permissions=["manage"]`."""
        return may(request, Can.MANAGE)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_manage_permission(request)

    def buttons(self, request: HttpRequest, row: Domain) -> list[tuple[str, str]]:
        manages = may_in(request, Can.MANAGE, row.account_id)
        return [one for one in super().buttons(request, row) if manages or one[0] not in OF_OWNERS]

    # --- Pages ---

    def get_urls(self) -> list[Any]:
        own = {"edit": self.edit_view, "zone": self.zone_view}
        pages = [
            path(f"<str:domain_id>/{name}/", self.admin_site.admin_view(view), name=f"inboxes_domain_{name}")
            for name, view in own.items()
        ]
        return [*pages, *super().get_urls()]

    def details(self, request: HttpRequest, row: Domain) -> dict[str, Any]:
        records = records_now(row, default_provider(row.account_id))
        return {
            "may_manage": may_in(request, Can.MANAGE, row.account_id),
            "records": [
                {"label": LABELS.get(each.purpose, each.purpose.upper()), **shown(row, each)} for each in records
            ],
            "broken": broken_records(row, records),
            "next_step": next_step(row, records),
        }

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise Http404
        accounts = visible(request, Account.objects.order_by("name"), "pk", Can.MANAGE)
        form = AddDomainForm(request.POST or None, accounts=accounts, initial=prefilled(request))
        if form.is_valid() and (domain := form.add()):
            self.message_user(request, "Publish these records, then verify the domain.")
            return HttpResponseRedirect(self._page_of(domain))
        return self.form_page(request, form, "Add a domain", "Add domain", "Its DNS records are shown next.")

    def edit_view(self, request: HttpRequest, domain_id: str) -> HttpResponse:
        domain = self.get_object(request, domain_id)
        if not may_in(request, Can.MANAGE, domain.account_id):
            raise Http404
        own, shared = Q(account_id=domain.account_id), Q(account=None)
        usable = Provider.objects.filter(own | shared if is_superuser(request) else own)
        kept = {"provider": domain.provider_id, "inbox_subdomains": domain.inbox_subdomains}
        form = ChangeDomainForm(request.POST or None, providers=usable, initial=kept)
        if request.method == "POST" and form.is_valid():
            change_domain(domain, form.changes)
            return HttpResponseRedirect(self._page_of(domain))
        intro = "Inboxes that are there keep their addresses."
        return self.form_page(request, form, f"Change {domain.domain}", "Save", intro)

    def zone_view(self, request: HttpRequest, domain_id: str) -> HttpResponse:
        domain = self.get_object(request, domain_id)
        records = records_now(domain, default_provider(domain.account_id))
        answer = HttpResponse(zone_file(domain, records), content_type="text/plain; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{domain.domain}.zone"'
        return answer

    # --- Acts ---

    @admin.action(description="Verify", permissions=["operate"])
    def verify_domains(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        """Asks DNS, and shows on the page what it said."""
        domains = list(self.changeable(request, queryset)[: MOST_VERIFIED + 1])
        if len(domains) > MOST_VERIFIED:
            self.message_user(request, f"Verify {MOST_VERIFIED} at once at most.", messages.WARNING)
            return None
        for domain in domains:
            self._verify(request, domain)
        return HttpResponseRedirect(self._page_of(domains[0])) if len(domains) == 1 else None

    def _verify(self, request: HttpRequest, domain: Domain) -> None:
        try:
            verified = take_in(domain, ask(domain))
        except DomainTaken as taken:
            self.message_user(request, str(taken), messages.ERROR)
        except Domain.DoesNotExist:
            self.message_user(request, f"{domain.domain} was deleted meanwhile.", messages.WARNING)
        else:
            self.message_user(request, f"{verified.domain}: {verified.get_status_display()}.")

    @admin.action(description="New DKIM key…", permissions=["manage"])
    def rotate_keys(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        rows = visible(request, queryset, "account_id", Can.MANAGE)
        return self.ask_first(request, rows, ROTATE, lambda domain, _: add_key(domain, new_key()))

    @admin.action(description="Delete…", permissions=["manage"])
    def delete_domains(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        rows = visible(request, queryset, "account_id", Can.MANAGE)
        answer = self.ask_first(request, rows, DELETE, lambda domain, _: self._delete(request, domain))
        is_done = isinstance(answer, HttpResponseRedirect)
        return HttpResponseRedirect(list_url("inboxes_domain")) if is_done else answer

    def _delete(self, request: HttpRequest, domain: Domain) -> bool:
        try:
            delete_domain(domain)
        except DomainInUse as error:
            self.message_user(request, f"{error} Delete these inboxes first.", messages.WARNING)
            return False
        return True
