"""Providers in the console: owners enter credentials, operators pause, resume and try; reviewers see none of it."""

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse

from delivery.console_provider_calls import (
    events_of_a_day,
    missing_secrets,
    on_the_wire,
    troubled,
    waits_until,
    webhooks,
)
from delivery.console_provider_forms import ChooseEspForm, ProviderForm, TestMailForm
from delivery.esps import ESPS
from delivery.outbound.queue import Blocked, TooLarge
from delivery.provider_rows import (
    NoInbox,
    delete_provider,
    inbox_for_test,
    pause_provider,
    queue_test,
    resume_provider,
    rotate_token,
)
from inboxes.console import AccountFilter, ConsoleAdmin, Question, choice_filter
from inboxes.console_roles import Can, Rows, is_superuser, may, may_in, visible
from inboxes.models import Account, Provider
from mailbot.lib.console_cells import badge, flag_column, link_column, list_url, text_column, time_column
from mailbot.lib.crypto import CannotDecrypt

PAUSE = Question(
    title="Pause providers",
    explanation="Mail for them waits until they are resumed. What is on its way to them already is not called back.",
    button="Pause",
    done="provider(s) paused",
)
RESUME = Question(
    title="Resume providers",
    explanation="Mail that waits for them is sent.",
    button="Resume",
    done="provider(s) resumed",
    needs_reason=False,
)
ROTATE = Question(
    title="New webhook addresses",
    explanation="The addresses in use stop working at once. Enter the new ones at the ESP right afterwards.",
    warning="Until then its webhooks are refused; most ESPs try again for some hours.",
    button="Make new addresses",
    done="provider(s) have new webhook addresses",
)
DELETE = Question(
    title="Delete providers",
    explanation="Their inboxes go on with the default of the account or of the server.",
    warning="This cannot be taken back: the credentials are gone, and their webhook addresses with them.",
    button="Delete",
    done="provider(s) deleted",
    removes=True,
)
OF_OWNERS = {"rotate_tokens", "delete_providers", "edit"}


@admin.display(description="ESP")
def esp_label(provider: Provider) -> str:
    return ESPS[provider.esp].label if provider.esp in ESPS else provider.esp


@admin.display(description="status")
def provider_status(provider: Provider) -> Any:
    return badge("paused" if provider.is_paused else "active")


@admin.display(description="credentials")
def credentials_state(provider: Provider) -> str:
    try:
        kept = provider.credentials
    except CannotDecrypt:
        return "They cannot be decrypted: the key is not among MAILBOT_ENCRYPTION_KEYS. Enter them anew; until then its mail waits."
    return ", ".join(field.label for field in ESPS[provider.esp].fields if field.name in kept) + " (encrypted)"


class ProviderAdmin(ConsoleAdmin):
    heading = "Providers"
    to_see = Can.OPERATE
    list_display = [
        text_column("name", length=60),
        esp_label,
        provider_status,
        link_column("account", "inboxes_account"),
        flag_column("is_default", "default"),
        text_column("paused_reason", "why", 60),
        time_column("created_at", "created"),
    ]
    list_select_related = ["account"]
    list_filter = [choice_filter("esp", "ESP", [(key, esp.label) for key, esp in ESPS.items()]), AccountFilter]
    search_fields = ["name"]
    search_ids = {"provider": "pk", "account": "account_id"}
    search_help_text = "Name, or an id."
    change_form_template = "admin/inboxes/provider/change_form.html"
    change_list_template = "admin/inboxes/provider/change_list.html"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    provider_status,
                    text_column("paused_reason", "why", 500),
                    esp_label,
                    credentials_state,
                    link_column("account", "inboxes_account"),
                    "id",
                ]
            },
        ),
        (
            "Sending",
            {
                "fields": [
                    on_the_wire,
                    waits_until,
                    flag_column("is_default", "default"),
                    link_column("fallback", "inboxes_provider"),
                    time_column("created_at", "created"),
                ]
            },
        ),
    ]
    actions = ["pause_providers", "resume_providers", "rotate_tokens", "delete_providers"]

    # --- Who may what ---

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """What actions ask for by `permissions=["manage"]`."""
        return may(request, Can.MANAGE)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_manage_permission(request)

    def _manageable(self, request: HttpRequest, rows: Rows) -> Rows:
        return visible(request, rows, "account_id", Can.MANAGE)

    def buttons(self, request: HttpRequest, row: Provider) -> list[tuple[str, str]]:
        found = super().buttons(request, row)
        return found if self._manages(request, row) else [one for one in found if one[0] not in OF_OWNERS]

    def _manages(self, request: HttpRequest, row: Provider) -> bool:
        return may_in(request, Can.MANAGE, row.account_id or "")

    # --- Pages ---

    def get_urls(self) -> list[Any]:
        own = {"edit": self.edit_view, "test": self.test_view}
        pages = [
            path(f"<str:provider_id>/{name}/", self.admin_site.admin_view(view), name=f"inboxes_provider_{name}")
            for name, view in own.items()
        ]
        return [*pages, *super().get_urls()]

    def details(self, request: HttpRequest, row: Provider) -> dict[str, Any]:
        """Webhook addresses hold a secret, which is the owner's."""
        manages, hooks = self._manages(request, row), webhooks(row)
        return {
            "may_manage": manages,
            "esp": esp_label(row),
            "webhooks": hooks,
            "missing": missing_secrets(hooks),
            "events_of_a_day": events_of_a_day(row),
            "troubled": troubled(row) if manages else [],
        }

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Which ESP, then what it wants."""
        if not self.has_add_permission(request):
            raise Http404
        accounts = visible(request, Account.objects.order_by("name"), "pk", Can.MANAGE)
        chosen = ChooseEspForm(request.GET or None, accounts=accounts, may_share=is_superuser(request))
        if "esp" in request.GET and chosen.is_valid():
            return self._fill_in(request, chosen.cleaned_data["account"], chosen.cleaned_data["esp"])
        asked = ChooseEspForm(
            request.POST or None,
            accounts=accounts,
            may_share=is_superuser(request),
            initial={"account": request.GET.get("account", "")},
        )
        if asked.is_valid():
            account = asked.cleaned_data["account"]
            query = {"esp": asked.cleaned_data["esp"], "account": account.pk if account else ""}
            return HttpResponseRedirect(
                f"{request.path}?{'&'.join(f'{name}={value}' for name, value in query.items())}"
            )
        intro = "Mail leaves through a provider: an ESP or a smart host, with credentials of your own."
        return self.form_page(request, asked, "Add a provider", "Go on", intro)

    def _fill_in(self, request: HttpRequest, account: Account | None, esp: str) -> HttpResponse:
        form = ProviderForm(request.POST or None, account=account, esp=esp)
        return self._save(request, form, f"Add a provider: {ESPS[esp].label}", "Add provider")

    def edit_view(self, request: HttpRequest, provider_id: str) -> HttpResponse:
        provider = self.get_object(request, provider_id)
        if not self._manages(request, provider):
            raise Http404
        form = ProviderForm(request.POST or None, account=provider.account, esp=provider.esp, provider=provider)
        return self._save(request, form, f"Change {provider.name}", "Save")

    @staticmethod
    def _intro(esp: str) -> str:
        return f"Credentials are encrypted and never shown again. Where to find them: docs/providers/{esp}.md."

    def _save(self, request: HttpRequest, form: ProviderForm, title: str, button: str) -> HttpResponse:
        if form.is_valid() and (provider := form.save()):
            self.message_user(request, f"{provider.name} is saved. Send a test mail to see whether it works.")
            return HttpResponseRedirect(self._page_of(provider))
        return self.form_page(request, form, title, button, self._intro(form.esp))

    def test_view(self, request: HttpRequest, provider_id: str) -> HttpResponse:
        provider = self.get_object(request, provider_id)
        accounts = visible(request, Account.objects.all(), "pk", Can.OPERATE)
        if provider.account_id:
            accounts = accounts.filter(pk=provider.account_id)
        form = TestMailForm(request.POST or None, accounts=accounts, initial={"inbox": _first_inbox(provider)})
        if form.is_valid():
            try:
                message = queue_test(provider, form.cleaned_data["inbox"], form.cleaned_data["to"])
            except (Blocked, TooLarge) as refused:
                form.add_error(None, f"{refused} {getattr(refused, 'fix', '')}")
            else:
                self.message_user(request, "The test mail is queued. Its status here shows what becomes of it.")
                return HttpResponseRedirect(reverse("admin:threads_message_change", args=[message.pk]))
        intro = "An ordinary mail that leaves through exactly this provider. That it is sent shows that the credentials are right."
        return self.form_page(request, form, f"Send a test mail through {provider.name}", "Send test mail", intro)

    # --- Acts ---

    @admin.action(description="Pause…", permissions=["operate"])
    def pause_providers(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset.filter(is_paused=False), PAUSE, pause_provider)

    @admin.action(description="Resume…", permissions=["operate"])
    def resume_providers(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset.filter(is_paused=True), RESUME, resume_provider)

    @admin.action(description="New webhook addresses…", permissions=["manage"])
    def rotate_tokens(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, self._manageable(request, queryset), ROTATE, rotate_token)

    @admin.action(description="Delete…", permissions=["manage"])
    def delete_providers(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        rows = self._manageable(request, queryset)
        answer = self.ask_first(request, rows, DELETE, lambda provider, _: delete_provider(provider))
        is_done = isinstance(answer, HttpResponseRedirect)
        return HttpResponseRedirect(list_url("inboxes_provider")) if is_done else answer

    def offers(self, action: str, row: Provider) -> bool:
        return {"pause_providers": not row.is_paused, "resume_providers": row.is_paused}.get(action, True)


def _first_inbox(provider: Provider) -> str:
    try:
        return inbox_for_test(provider).address
    except NoInbox:
        return ""
