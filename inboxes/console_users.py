"""The console's users, for superusers. Which accounts a user sees follows from memberships alone."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.contrib.auth.admin import UserAdmin
from django.core.exceptions import ValidationError
from django.forms import BaseInlineFormSet
from django.http import HttpRequest

from inboxes.console_roles import is_superuser
from inboxes.members import LastOwner
from inboxes.models import Membership
from mailbot.lib.console_cells import time_column

OWNER = Membership.Role.OWNER


class MembershipFormSet(BaseInlineFormSet):  # type: ignore[type-arg]  # no generic when it runs
    """Rows that are edited together; an account that has an owner keeps one."""

    def clean(self) -> None:
        super().clean()
        for account_id in {form.instance.account_id for form in self.initial_forms if form.initial["role"] == OWNER}:
            here = [form for form in self.forms if form.instance.account_id == account_id]
            stay = any(form.cleaned_data.get("role") == OWNER and form not in self.deleted_forms for form in here)
            elsewhere = Membership.objects.filter(account_id=account_id, role=OWNER)
            if not stay and not elsewhere.exclude(pk__in=[form.instance.pk for form in here]).exists():
                raise ValidationError(str(LastOwner()))


class MembershipInline(admin.TabularInline[Any, Any]):
    model = Membership
    formset = MembershipFormSet
    extra = 0
    verbose_name, verbose_name_plural = "member", "members"

    def formfield_for_dbfield(self, db_field: Any, request: Any, **options: Any) -> Any:
        """Without the admin's buttons beside it: a user is made, changed and looked at on the page of users."""
        field = super().formfield_for_dbfield(db_field, request, **options)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget
        return field

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission


class ConsoleUserAdmin(UserAdmin[Any]):
    """Superusers make users here, and say by memberships which accounts they see."""

    list_display = ["username", "email", "is_active", "is_staff", "is_superuser", time_column("last_login")]
    list_filter = ["is_active", "is_staff", "is_superuser"]
    filter_horizontal = ()
    show_facets = admin.ShowFacets.NEVER
    search_help_text = "Name or e-mail address."
    fieldsets = [
        (None, {"fields": ["username", "password", "email"]}),
        ("May sign in", {"fields": ["is_active", "is_staff", "is_superuser"]}),
    ]
    inlines = [MembershipInline]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return super().changelist_view(request, {"title": "Users", **(extra_context or {})})

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The trail names users: one who goes is made inactive."""
        return False

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return [MembershipInline] if obj else []
