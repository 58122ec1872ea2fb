"""Retention classes in the console: how long inboxes keep what they have."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils.html import format_html

from inboxes.console import AccountFilter, ConsoleAdmin, Question
from inboxes.console_forms import AccountForm, prefilled
from inboxes.console_roles import Can, Rows, may_in, visible
from inboxes.models import Account, Inbox, RetentionClass
from inboxes.retention_classes import (
    DAYS,
    ClassInUse,
    ClassRefused,
    change_class,
    class_of,
    delete_class,
    inboxes_of,
    make_class,
)
from inboxes.retention_models import LEAST_AUDIT_DAYS, LEAST_DAYS, MOST_DAYS
from mailbot.lib.console_cells import flag_column, link_column, list_url, page_link, shortened, text_column, time_column
from mailbot.lib.ids import is_id
from mailbot.lib.stray_keys import refuse_key

DELETE = Question(
    title="Delete retention classes",
    explanation="One that inboxes name is not deleted. Inboxes of which one was the default keep everything from now on.",
    button="Delete",
    done="class(es) deleted",
    needs_reason=False,
    removes=True,
)
INTRO = "In days; empty keeps for ever. What is over is erased for good, but for what is under legal hold."
HELP = {
    "content_days": "Messages with their attachments, and their raw mail.",
    "raw_days": "Raw mail alone, before its message goes.",
    "events_days": "What happened to messages and threads, as the API lists it.",
    "audit_days": f"The audit trail of the inbox: {LEAST_AUDIT_DAYS} days at least. What was held or removed stays in it.",
}
LABELS = {"content_days": "Content", "raw_days": "Raw mail", "events_days": "Events", "audit_days": "Trail"}


def _days(name: str) -> forms.IntegerField:
    least = LEAST_AUDIT_DAYS if name == "audit_days" else LEAST_DAYS
    return forms.IntegerField(
        label=f"{LABELS[name]}, in days", min_value=least, max_value=MOST_DAYS, required=False, help_text=HELP[name]
    )


class ClassFields(forms.Form):
    name = forms.CharField(max_length=100, validators=[refuse_key], widget=forms.TextInput(attrs={"size": 40}))
    content_days = _days("content_days")
    raw_days = _days("raw_days")
    events_days = _days("events_days")
    audit_days = _days("audit_days")
    is_default = forms.BooleanField(
        label="Default of the account",
        required=False,
        help_text="For all its inboxes that name no class, those that are there too. It takes that from the one before.",
    )

    def values(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("name", *DAYS, "is_default")}

    def saved(self, save: Callable[[], RetentionClass]) -> RetentionClass | None:
        """None when it cannot be so, which the form then says."""
        try:
            return save()
        except ClassRefused as error:
            self.add_error(error.field, str(error))
            return None


class MakeClassForm(AccountForm, ClassFields):
    field_order = ["account", "name", *DAYS, "is_default"]


class ChangeClassForm(ClassFields):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})


class ChooseClassForm(forms.Form):
    """How long one inbox keeps what it has."""

    retention_class = forms.ModelChoiceField(
        RetentionClass.objects.none(), required=False, empty_label="the default of the account or of the server"
    )

    def __init__(self, *args: Any, classes: QuerySet[RetentionClass], **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})
        choose = self.fields["retention_class"]
        assert isinstance(choose, forms.ModelChoiceField)
        choose.queryset = classes


def days_column(name: str) -> Any:
    @admin.display(description=LABELS[name].lower())
    def column(retention: RetentionClass) -> str:
        days = getattr(retention, name)
        return "for ever" if days is None else f"{days:,} days" if days > 1 else "1 day"

    column.__name__ = name
    return column


@admin.display(description="inboxes")
def inbox_count(retention: RetentionClass) -> int:
    return inboxes_of(retention).count()


def inboxes_url(retention: RetentionClass) -> str:
    """The list of the inboxes that it counts for."""
    return list_url("inboxes_inbox", retention=retention.pk)


@admin.display(description="inboxes")
def inboxes_link(retention: RetentionClass) -> Any:
    label = f"Inboxes that are kept by {retention.name}"
    return format_html('<a href="{}" aria-label="{}">show</a>', inboxes_url(retention), label)


@admin.display(description="retention")
def class_of_inbox(inbox: Inbox) -> Any:
    found = class_of(inbox)
    if found is None:
        return "no class: everything is kept, but for what the server's settings say"
    link = page_link("inboxes_retentionclass", found.pk, shortened(found.name, 60))
    return link if inbox.retention_class_id else format_html("{} (the account’s default)", link)


class RetentionFilter(admin.SimpleListFilter):
    """To the inboxes of one class, which its page and list link to."""

    title = "retention"
    parameter_name = "retention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        chosen = str(request.GET.get(self.parameter_name, ""))
        found = self._class(request, chosen)
        return [(chosen, found.name if found else "not found")] if chosen else []

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if self.value() is None:
            return queryset
        found = self._class(request, str(self.value()))
        return queryset.filter(pk__in=inboxes_of(found).values("pk")) if found else queryset.none()

    def _class(self, request: HttpRequest, pk: str) -> RetentionClass | None:
        rows = RetentionClass.objects.filter(pk=pk if is_id(pk, "retention") else "")
        return visible(request, rows).first()


class RetentionClassAdmin(ConsoleAdmin):
    heading = "Retention"
    to_change = Can.MANAGE
    list_display = [
        text_column("name", length=60),
        link_column("account", "inboxes_account"),
        *(days_column(name) for name in DAYS),
        flag_column("is_default", "default"),
        inboxes_link,
    ]
    list_select_related = ["account"]
    list_filter = [AccountFilter]
    search_fields = ["name"]
    search_ids = {"retention": "pk", "account": "account_id"}
    search_help_text = "Name, or an id."
    change_form_template = "admin/inboxes/retentionclass/change_form.html"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    link_column("account", "inboxes_account"),
                    flag_column("is_default", "default"),
                    inbox_count,
                    "id",
                ]
            },
        ),
        ("How long it keeps", {"fields": [*(days_column(name) for name in DAYS)]}),
        ("Times", {"fields": [time_column("created_at", "created")]}),
    ]
    actions = ["delete_classes"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(self.edit_view)
        return [path("<str:class_id>/edit/", page, name="inboxes_retentionclass_edit"), *super().get_urls()]

    def details(self, request: HttpRequest, row: RetentionClass) -> dict[str, Any]:
        return {"may_manage": may_in(request, Can.MANAGE, row.account_id), "inboxes_url": inboxes_url(row)}

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise Http404
        accounts = visible(request, Account.objects.order_by("name"), "pk", Can.MANAGE)
        form = MakeClassForm(request.POST or None, accounts=accounts, initial=prefilled(request))
        if form.is_valid():
            account = form.cleaned_data["account"]
            if made := form.saved(lambda: make_class(account, form.values())):
                self.message_user(request, f"Inboxes can be kept by “{made.name}” now.")
                return HttpResponseRedirect(self._page_of(made))
        return self.form_page(request, form, "Make a retention class", "Make class", INTRO)

    def edit_view(self, request: HttpRequest, class_id: str) -> HttpResponse:
        retention = self.get_object(request, class_id)
        if not may_in(request, Can.MANAGE, retention.account_id):
            raise Http404
        kept = {name: getattr(retention, name) for name in ("name", *DAYS, "is_default")}
        form = ChangeClassForm(request.POST or None, initial=kept)
        if request.method == "POST" and form.is_valid() and form.saved(lambda: change_class(retention, form.values())):
            return HttpResponseRedirect(self._page_of(retention))
        intro = f"{INTRO} A shorter time counts for what is there already."
        return self.form_page(request, form, f"Change {kept['name']}", "Save", intro)

    @admin.action(description="Delete…", permissions=["operate"])
    def delete_classes(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        answer = self.ask_first(request, queryset, DELETE, lambda retention, _: self._delete(request, retention))
        is_done = isinstance(answer, HttpResponseRedirect)
        return HttpResponseRedirect(list_url("inboxes_retentionclass")) if is_done else answer

    def _delete(self, request: HttpRequest, retention: RetentionClass) -> bool:
        try:
            delete_class(retention)
        except ClassInUse as error:
            self.message_user(request, f"{error} Give these inboxes another one first.", messages.WARNING)
            return False
        return True
