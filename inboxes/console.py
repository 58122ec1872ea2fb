"""What all pages of the console have in common: lists that stay quick on large tables, and questions before acts.

Who sees which rows and may change them is asked of `inboxes.console_roles`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import flatten_fieldsets, quote, unquote
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst

from audit.reads import record_found, record_read
from audit.record import Act
from inboxes.console_roles import Can, Rows, is_superuser, may, visible
from inboxes.holds import Held, refusals_stay
from inboxes.models import Account, Inbox
from mailbot.lib.console_cells import NOTHING, list_url
from mailbot.lib.ids import is_id
from mailbot.lib.stray_keys import refuse_key, without_keys

MOST_COUNTED = 10_000
MOST_AT_ONCE = 100
MOST_CHOICES = 30
MOST_ASKED = 200  # characters of what a list was asked for, in the trail


class BoundedPaginator(Paginator[Any]):
    """Counts no further than 10,000 rows: an exact number costs seconds on a large table, and nobody leafs that far."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[: MOST_COUNTED + 1].count())


@dataclass(frozen=True, slots=True)
class Question:
    """What stands on the page between a button and its act."""

    title: str
    explanation: str
    button: str
    done: str
    warning: str = ""
    needs_reason: bool = True
    removes: bool = False  # the rows have no page of their own afterwards


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=500, widget=forms.TextInput(attrs={"size": 70, "autofocus": True}), validators=[refuse_key]
    )

    def __init__(self, *args: Any, needs_reason: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["reason"].help_text = (
            "Kept in the audit trail." if needs_reason else "Kept in the audit trail. May stay empty."
        )
        self.fields["reason"].required = needs_reason


class ConsoleAdmin(admin.ModelAdmin[Any]):
    """A list and a page of rows that are read here, and changed by named acts only.

    `account_path` leads to the account's id (see `visible`). `to_see` and `to_change` say what a role must open for the page and for its
    buttons. `search_ids` says by which column a typed id is looked up, by its
    prefix; other words are sought with `search_fields`, in the newest `search_window` rows unless one inbox is chosen.
    """

    account_path: str | None = "account_id"
    heading = ""  # what its place in the navigation is called, where that is another word than the rows' own
    to_see = Can.SEE
    to_change = Can.OPERATE
    list_act: ClassVar[Act | None] = (
        None  # what the trail calls it that a list, or a page, is read; None: it is not told
    )
    page_act: ClassVar[Act | None] = None
    search_ids: dict[str, str] = {}
    search_window: int | None = None
    change_form_template = "admin/console/detail.html"
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    paginator = BoundedPaginator
    sortable_by = ()
    show_facets = admin.ShowFacets.NEVER  # they count each choice of each filter
    view_on_site = False
    empty_value_display = NOTHING
    list_display: Any
    list_filter: ClassVar[Any]
    fields: ClassVar[Any] = None
    fieldsets: ClassVar[Any] = None

    # --- Who may what ---

    def get_queryset(self, request: HttpRequest) -> Rows:
        return visible(request, super().get_queryset(request), self.account_path, self.to_see)

    def changeable(self, request: HttpRequest, rows: Rows) -> Rows:
        """Those among the rows that the user may change."""
        return visible(request, rows, self.account_path, self.to_change)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request) or (self.account_path is not None and may(request, self.to_see))

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """What actions ask for by `permissions=["operate"]`."""
        return is_superuser(request) or (self.account_path is not None and may(request, self.to_change))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return flatten_fieldsets(self.fieldsets) if self.fieldsets else list(self.fields)

    # --- Finding ---

    def get_search_results(self, request: HttpRequest, queryset: Rows, search_term: str) -> tuple[Rows, bool]:
        term = search_term.strip()
        prefix = term.partition("_")[0]
        if prefix in self.search_ids and is_id(term, prefix):
            return queryset.filter(**{self.search_ids[prefix]: term}), False
        if term and self.search_window and InboxFilter.parameter_name not in request.GET:
            queryset = self._newest(queryset, self.search_window)
        return super().get_search_results(request, queryset, term)

    def _newest(self, rows: Rows, window: int) -> Rows:
        """Ids rise with time, so the newest rows are those above one id, which the primary key finds."""
        oldest = list(self.model._default_manager.order_by("-pk").values_list("pk", flat=True)[window : window + 1])
        return rows.filter(pk__gt=oldest[0]) if oldest else rows

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """404 for what is not there or not the user's: the admin's own redirect would tell an id from a guess."""
        found = None if "\0" in object_id else super().get_object(request, object_id, from_field)
        if found is None:
            raise Http404
        return found

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The audit trail is the history."""
        return HttpResponseRedirect(list_url("audit_auditentry", q=self.get_object(request, unquote(object_id)).pk))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        answer = super().changelist_view(request, {"title": self._heading(), **(extra_context or {})})
        if self.list_act and (shown := getattr(answer, "context_data", None)) and "cl" in shown:
            self.note_list(request, list(shown["cl"].result_list))
        return answer

    def note_list(self, request: HttpRequest, rows: list[Any]) -> None:
        """In the trail, before it is shown."""
        assert self.list_act
        record_found(self.list_act, str(self.opts.model_name), rows, **asked(request))

    def note_page(self, request: HttpRequest, row: Any) -> None:
        """The same for the page of a row."""
        assert self.page_act
        place = {"account_id": row.account_id, "inbox_id": row.inbox_id}
        record_read(self.page_act, str(self.opts.model_name), row.pk, **place, **self.parts_shown(request, row))

    def parts_shown(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What the trail says of the page beyond the name of the row."""
        return {}

    def _heading(self) -> str:
        return self.heading or str(capfirst(self.opts.verbose_name_plural))

    # --- The page of one row ---

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **options: Any) -> HttpResponse:
        context["show_save_and_add_another"] = False
        if (row := options.get("obj")) is not None:
            may_operate = self.changeable(request, self.get_queryset(request).filter(pk=row.pk)).exists()
            context |= {
                "may_operate": may_operate,
                "buttons": self.buttons(request, row) if may_operate else [],
                "title": capfirst(self.opts.verbose_name),
                "subtitle": self.label(row),
                "heading": self._heading(),
            }
            context |= self.details(request, row)
            if self.page_act:
                self.note_page(request, row)
        return super().render_change_form(request, context, *args, **options)

    def buttons(self, request: HttpRequest, row: Any) -> list[tuple[str, str]]:
        """(name, label) of the actions that would do something to this row."""
        actions: dict[str, Any] = self.get_actions(request)
        return [(name, label) for _, name, label in actions.values() if self.offers(name, row)]

    def offers(self, action: str, row: Any) -> bool:
        """Whether the action would do anything to this row."""
        return True

    def details(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What the template of the page needs beyond the fields."""
        return {}

    def label(self, row: Any) -> str:
        """How the row is called in headings and questions."""
        return str(row)[:200]

    # --- Acts ---

    def ask_first(
        self, request: HttpRequest, queryset: Rows, question: Question, act: Callable[[Any, str], object]
    ) -> HttpResponse | None:
        """Show the question; once it is answered by POST, do `act(row, reason)` to each row that the user may change."""
        rows = list(self.changeable(request, queryset)[: MOST_AT_ONCE + 1])
        if not rows or len(rows) > MOST_AT_ONCE:
            why = (
                f"These are more than {MOST_AT_ONCE} at once."
                if rows
                else "There is none among them to which this can be done."
            )
            self.message_user(request, f"{question.title}: {why} Nothing was changed.", messages.WARNING)
            return None
        form = ReasonForm(request.POST if "confirmed" in request.POST else None, needs_reason=question.needs_reason)
        if not form.is_valid():
            return self._ask(request, rows, question, form)
        done = sum(self._done(request, act, row, form.cleaned_data["reason"]) for row in rows)
        self.message_user(request, f"{done} {question.done}.", messages.SUCCESS if done else messages.WARNING)
        has_page = len(rows) == 1 and not question.removes
        return HttpResponseRedirect(self._page_of(rows[0]) if has_page else request.get_full_path())

    def _done(self, request: HttpRequest, act: Callable[[Any, str], object], row: Any, reason: str) -> bool:
        """What a legal hold stands against is not done, and the user is told so."""
        try:
            with refusals_stay():
                return act(row, reason) is not False
        except Held as held:
            self.message_user(request, f"{self.label(row)}: {held} An owner may release it.", messages.WARNING)
            return False

    def _page_of(self, row: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[quote(row.pk)])

    def _ask(self, request: HttpRequest, rows: list[Any], question: Question, form: ReasonForm) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": question.title,
            "question": question,
            "form": form,
            "rows": [(row.pk, self.label(row)) for row in rows],
            "action": request.POST["action"],
            "selected": ACTION_CHECKBOX_NAME,
            "back": self._page_of(rows[0]) if len(rows) == 1 else request.get_full_path(),
        }
        return TemplateResponse(request, "admin/console/confirm.html", context)

    def form_page(self, request: HttpRequest, form: forms.Form, title: str, button: str, intro: str) -> HttpResponse:
        """A page with one form, for what is made by a function and not by saving a row."""
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": title}
        context |= {"form": form, "button": button, "intro": intro}
        return TemplateResponse(request, "admin/console/form.html", context, status=400 if form.errors else 200)


def asked(request: HttpRequest) -> dict[str, str]:
    """Filters and words of a list, as they stand in the address, for the trail."""
    text = without_keys(request.GET.urlencode())[:MOST_ASKED]
    return {"query": text} if text else {}


class AccountFilter(admin.SimpleListFilter):
    """By account, among those that the user may see; the first ones only, the page of an account links to all its lists."""

    title = "account"
    parameter_name = "account"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        mine = visible(request, Account.objects.order_by("name"), "pk").values_list("pk", "name")
        shown, chosen = list(mine[:MOST_CHOICES]), request.GET.get(self.parameter_name, "")
        if is_id(chosen, "account") and chosen not in dict(shown):
            shown += list(mine.filter(pk=chosen))
        return [(pk, name[:40]) for pk, name in shown]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return _with_id(queryset, "account_id", self.value(), "account")


class InboxFilter(admin.SimpleListFilter):
    """To one inbox, which links elsewhere choose; the list offers to leave it, not to pick among thousands."""

    title = "inbox"
    parameter_name = "inbox"
    column = "inbox_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        chosen = str(request.GET.get("inbox", ""))
        if not chosen:
            return []
        found = (
            visible(request, Inbox.objects.filter(pk=chosen if is_id(chosen, "inbox") else ""))
            .values_list("address", flat=True)
            .first()
        )
        return [(chosen, found or "not found")]  # without a choice the admin would not filter at all

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return _with_id(queryset, self.column, self.value(), "inbox")


def _with_id(rows: Rows, column: str, value: str | None, prefix: str) -> Rows:
    if value is None:
        return rows
    return rows.filter(**{column: value}) if is_id(value, prefix) else rows.none()


def choice_filter(
    name: str, heading: str, choices: list[tuple[str, str]], narrow: Callable[[Rows, str], Rows] | None = None
) -> type[admin.SimpleListFilter]:
    """A filter over a closed list, so that no DISTINCT runs over the table. `narrow` takes the rows and the choice."""

    class ChoiceFilter(admin.SimpleListFilter):
        title = heading
        parameter_name = name

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
            return [(value, capfirst(label)) for value, label in choices]

        def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
            value = self.value()
            if value is None:
                return queryset
            return narrow(queryset, value) if narrow else queryset.filter(**{name: value})

    return ChoiceFilter
