"""Members in the console: who belongs to which account, with which role. For owners, and superusers."""

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.views.decorators.debug import sensitive_variables

from inboxes.console import AccountFilter, ConsoleAdmin, Question, choice_filter
from inboxes.console_forms import AddMemberForm, prefilled
from inboxes.console_roles import Can, Rows, is_superuser, visible
from inboxes.members import LastOwner, change_role, remove_member
from inboxes.models import Account, Membership
from mailbot.lib.console_cells import badge_column, flag_column, link_column, text_column, time_column

REMOVE = Question(
    title="Remove members",
    explanation="From their next page on they see nothing of the account. They can still sign in, and be added again.",
    button="Remove",
    done="member(s) removed",
    needs_reason=False,
    removes=True,
)
EXPLANATIONS = {
    "make_owner": "They may do everything in the account, also manage its keys and members.",
    "make_operator": "They run inboxes, settle stuck mail and read mail. They see keys and manage none.",
    "make_reviewer": "They read the trail, and of mail only from whom to whom, when and what became of it. They change nothing.",
}


def _becomes(action: str) -> Question:
    title = action.replace("_", " ").capitalize()
    return Question(title, EXPLANATIONS[action], title, "member(s) changed", needs_reason=False)


class MembershipAdmin(ConsoleAdmin):
    heading = "Members"
    to_see = Can.MANAGE
    to_change = Can.MANAGE
    list_display = [
        text_column("user__username", "name"),
        badge_column("role"),
        link_column("account", "inboxes_account"),
        flag_column("user__is_active", "may sign in"),
        time_column("user__last_login", "last sign-in"),
    ]
    list_select_related = ["account", "user"]
    list_filter = [choice_filter("role", "role", Membership.Role.choices), AccountFilter]
    search_fields = ["user__username"]
    search_ids = {"member": "pk", "account": "account_id"}
    search_help_text = "Name, or an id."
    ordering = ["account__name", "user__username"]
    fields = [*list_display, "id"]
    actions = ["make_owner", "make_operator", "make_reviewer", "remove"]

    def get_queryset(self, request: HttpRequest) -> Rows:
        return super().get_queryset(request).select_related("account", "user")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_operate_permission(request)

    @sensitive_variables("added", "password")
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The password of a new user is in the answer to this POST and nowhere else."""
        if not self.has_add_permission(request):
            raise Http404
        accounts = visible(request, Account.objects.order_by("name"), "pk", Can.MANAGE)
        form = AddMemberForm(
            request.POST or None, accounts=accounts, initial=prefilled(request), may_add_existing=is_superuser(request)
        )
        added = form.add() if form.is_valid() else None
        if added is None:
            intro = "They sign in with a password that is shown once, on the next page. They can change it."
            return self.form_page(request, form, "Add a member", "Add member", intro)
        membership, password = added
        if not password:
            self.message_user(request, f"{self.label(membership)}.", messages.SUCCESS)
            return HttpResponseRedirect(self._page_of(membership))
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": "Member added"}
        context |= {"membership": membership, "password": password}
        return TemplateResponse(request, "admin/inboxes/membership/added.html", context).render()

    @admin.action(description="Make owner…", permissions=["operate"])
    def make_owner(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.change(request, queryset, "make_owner", Membership.Role.OWNER)

    @admin.action(description="Make operator…", permissions=["operate"])
    def make_operator(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.change(request, queryset, "make_operator", Membership.Role.OPERATOR)

    @admin.action(description="Make reviewer…", permissions=["operate"])
    def make_reviewer(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.change(request, queryset, "make_reviewer", Membership.Role.REVIEWER)

    def change(self, request: HttpRequest, members: Rows, action: str, role: str) -> HttpResponse | None:
        def act(member: Membership, reason: str) -> bool:
            return self._unless_last_owner(request, partial(change_role, member, role, reason))

        return self.ask_first(request, members.exclude(role=role), _becomes(action), act)

    @admin.action(description="Remove…", permissions=["operate"])
    def remove(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        def act(member: Membership, reason: str) -> bool:
            return self._unless_last_owner(request, partial(remove_member, member, reason))

        return self.ask_first(request, queryset, REMOVE, act)

    def _unless_last_owner(self, request: HttpRequest, change: Any) -> bool:
        try:
            change()
        except LastOwner as error:
            self.message_user(request, str(error), messages.ERROR)
            return False
        return True

    def offers(self, action: str, row: Membership) -> bool:
        return action != f"make_{row.role}"

    def label(self, row: Membership) -> str:
        return f"{row.user.get_username()}, {row.role} of {row.account}"[:200]
