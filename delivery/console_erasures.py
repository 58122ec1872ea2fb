"""Erasures in the console: tried dry, done for good, watched, certified. Of owners only."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from delivery.erasing.asking import MOST_REASON, UNDER_WAY, NotErasable, UnderWay, ask_for_erasure, person_at
from delivery.erasing.certificate import read_certificate
from delivery.erasing.person import Person
from delivery.erasing.planning import preview
from delivery.models import Erasure
from inboxes.console import AccountFilter, ConsoleAdmin, choice_filter
from inboxes.console_forms import AccountForm
from inboxes.console_roles import Can, Rows, visible
from inboxes.holds import Held, refusals_stay
from inboxes.models import Account
from mailbot.api.renderers import dumps
from mailbot.lib.console_cells import (
    NOTHING,
    badge_column,
    link_column,
    number_column,
    page_link,
    shortened,
    text_column,
    time_column,
)
from mailbot.lib.stray_keys import refuse_key

INTRO = (
    "All mail that somebody sent or was sent, in all inboxes of the account, and the address wherever else it stands. First you see what"
    " would go; nothing is changed until you confirm that."
)
# What the page of a dry run counts, in the order in which it tells it.
COUNTED = (
    *(("raw_mails", "Raw mails"), ("attachments", "Attachments"), ("threads", "Threads"), ("events", "Events")),
    *(("recipients", "Recipients"), ("audit_entries", "Entries of the audit trail")),
    *(("provider_events", "Provider events"), ("kept_answers", "Kept answers of the API")),
)


class EraseForm(AccountForm):
    address = forms.CharField(
        max_length=320,
        widget=forms.TextInput(attrs={"size": 40, "autocomplete": "off"}),
        help_text="Of the person. Upper and lower case are the same; an address with a “+” is another one.",
    )
    reason = forms.CharField(
        max_length=MOST_REASON,
        widget=forms.TextInput(attrs={"size": 70}),
        validators=[refuse_key],
        help_text="Kept in the audit trail and in the certificate: write no name and no address here.",
    )

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if given.get("account") and given.get("address"):
            try:
                given["person"] = person_at(given["account"], given["address"])
            except NotErasable as error:
                self.add_error("address", str(error))
        return given

    @property
    def person(self) -> Person:
        found: Person = self.cleaned_data["person"]
        return found

    def preview(self) -> dict[str, Any]:
        return preview(self.cleaned_data["account"], self.person, self.cleaned_data["reason"])

    def erase(self) -> Erasure | None:
        """None when it is refused, which the form then says."""
        try:
            with refusals_stay():
                return ask_for_erasure(self.cleaned_data["account"], self.person, self.cleaned_data["reason"])
        except (UnderWay, Held) as error:
            self.add_error(None, str(error))
            return None


@admin.display(description="progress")
def progress(erasure: Erasure) -> str:
    return f"{erasure.progress} %"


@admin.display(description="asked by")
def asked_by(erasure: Erasure) -> Any:
    return shortened(f"{erasure.actor_name or erasure.actor_id} ({erasure.actor_kind.replace('_', ' ')})", 60)


@admin.display(description="gone so far")
def gone(erasure: Erasure) -> str:
    told = (f"{number:,} {kind.replace('_', ' ')}" for kind, number in sorted(erasure.counts.items()))
    return ", ".join(told) or NOTHING


class ErasureAdmin(ConsoleAdmin):
    heading = "Erasures"
    to_see = to_change = Can.MANAGE
    list_display = [
        "person",
        badge_column("state"),
        progress,
        text_column("reason", length=50),
        asked_by,
        link_column("account", "inboxes_account"),
        time_column("created_at", "asked"),
        time_column("finished_at", "finished"),
    ]
    list_select_related = ["account"]
    list_filter = [choice_filter("state", "state", Erasure.State.choices), AccountFilter]
    search_fields = ["person", "reason"]
    search_ids = {"erasure": "pk", "account": "account_id"}
    search_help_text = "A pseudonym, a part of the reason, or an id."
    change_form_template = "admin/delivery/erasure/change_form.html"
    fields = [
        "person",
        badge_column("state"),
        progress,
        gone,
        text_column("error", length=500),
        link_column("account", "inboxes_account"),
        text_column("reason", length=500),
        asked_by,
        time_column("created_at", "asked"),
        time_column("started_at", "begun"),
        time_column("finished_at", "finished"),
        number_column("done", "done"),
        number_column("total", "of messages and entries"),
        "id",
    ]
    actions = ["certificate"]

    def offers(self, action: str, row: Erasure) -> bool:
        return row.certificate is not None

    def details(self, request: HttpRequest, row: Erasure) -> dict[str, Any]:
        return {"is_under_way": row.state in UNDER_WAY}

    def label(self, row: Erasure) -> str:
        return f"{row.person} · {row.created_at:%Y-%m-%d %H:%M}"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The form, then what would go, then the deed."""
        if not self.has_add_permission(request):
            raise Http404
        accounts = visible(request, Account.objects.order_by("name"), "pk", Can.MANAGE)
        form = EraseForm(request.POST or None, accounts=accounts)
        if not form.is_valid():
            return self.form_page(request, form, "Erase a person", "Show what would go", INTRO)
        if request.POST.get("confirmed") != "yes":
            return self._plan_page(request, form)
        erasure = form.erase()
        if erasure is None:
            return self.form_page(request, form, "Erase a person", "Show what would go", INTRO)
        self.message_user(request, "It is done now. This page shows how far it is.")
        return HttpResponseRedirect(self._page_of(erasure))

    def _plan_page(self, request: HttpRequest, form: EraseForm) -> HttpResponse:
        plan = form.preview()
        shown = {
            "plan": plan,
            "counted": [(label, plan[name]) for name, label in COUNTED],
            "others": [(kind.replace("_", " "), number) for kind, number in plan["other_rows"].items()],
            "inboxes": [
                (page_link("inboxes_inbox", one["inbox_id"], shortened(one["address"], 60)), one["count"])
                for one in plan["messages"]["by_inbox"]
            ],
            "given": {
                "account": form.cleaned_data["account"].pk,
                **{n: form.cleaned_data[n] for n in ("address", "reason")},
            },
        }
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": "What would go", **shown}
        return TemplateResponse(request, "admin/delivery/erasure/plan.html", context)

    @admin.action(description="Certificate", permissions=["operate"])
    def certificate(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        erasure = self.changeable(request, queryset).first() if queryset.count() == 1 else None
        certificate = read_certificate(erasure) if erasure else None
        if erasure is None or certificate is None:
            self.message_user(request, "Choose one that is done.", messages.WARNING)
            return None
        answer = HttpResponse(dumps(certificate), content_type="application/json")
        answer["Content-Disposition"] = f'attachment; filename="{erasure.pk}.json"'
        return answer
