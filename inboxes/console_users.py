"""The console's users: made by superusers, who also say by memberships which accounts a user sees."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from inboxes.models import Membership
from mailbot.lib.console_cells import time_column


class MembershipInline(admin.TabularInline[Any, Any]):
    model = Membership
    extra = 0


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

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The trail names users: one who goes is made inactive."""
        return False

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return [MembershipInline] if obj else []
