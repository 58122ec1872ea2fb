"""How the trail looks in the console. This app knows no accounts: `inboxes.admin` narrows it to those of the user and registers it."""

from typing import Any, ClassVar

import auditlog.admin as auditlogs_own  # noqa: F401  (so that its own page is registered by now, and not after we have removed it)
from django.apps import apps
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from audit.actors import ActorKind
from audit.acts import names_of_acts
from audit.models import AuditEntry
from mailbot.lib.console_cells import json_column, page_link, shortened, text_column, time_column
from mailbot.lib.ids import is_id

admin.site.unregister(AuditEntry)  # django-auditlog's page shows none of our columns


class ActFilter(admin.SimpleListFilter):
    title = "action"
    parameter_name = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(name, name) for name in names_of_acts()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(act=self.value()) if self.value() else queryset


class ActorKindFilter(admin.SimpleListFilter):
    title = "kind of actor"
    parameter_name = "actor_kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        return [(kind.value, kind.value.replace("_", " ")) for kind in ActorKind]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(actor_kind=self.value()) if self.value() else queryset


@admin.display(description="actor")
def actor(entry: AuditEntry) -> Any:
    return shortened(f"{entry.actor_name or entry.actor_id or 'nobody'} ({entry.actor_kind.replace('_', ' ')})", 40)


@admin.display(description="object")
def about(entry: AuditEntry) -> Any:
    """A link where there may still be a page of it; the entry outlives what it speaks of."""
    text = shortened(entry.object_repr or entry.object_pk, 60)
    model = pages().get(entry.object_type)
    return page_link(model, entry.object_pk, text) if model and entry.object_pk else text


def pages() -> dict[str, str]:
    """`<app>_<model>` of the pages of the console, by model name: how an entry names its object."""
    shown = [model._meta for model in apps.get_models() if admin.site.is_registered(model)]
    return {str(meta.model_name): f"{meta.app_label}_{meta.model_name}" for meta in shown}


class AuditEntryAdmin(admin.ModelAdmin[AuditEntry]):
    """Read-only. Every column that a search compares has an index, but for account and inbox, which only ids reach."""

    list_display: Any = [
        time_column("timestamp", "time"),
        "act",
        actor,
        about,
        text_column("remote_addr", "peer address"),
        text_column("cid", "request", 20),
    ]
    list_filter: ClassVar[Any] = [ActFilter, ActorKindFilter]
    change_form_template = "admin/audit/auditentry/change_form.html"
    search_fields = ["cid__exact", "object_pk__exact"]
    search_help_text = "The id of an object, inbox, account, entry or request."
    fields: ClassVar[Any] = [
        time_column("timestamp", "time"),
        "act",
        actor,
        "actor_id",
        about,
        text_column("object_pk", "object id"),
        "account_id",
        "inbox_id",
        text_column("mode"),
        json_column("changes", "changes"),
        text_column("remote_addr", "peer address"),
        text_column("cid", "request", 100),
        text_column("public_id", "id"),
    ]
    readonly_fields: ClassVar[Any] = fields

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        wider = {"inbox": Q(inbox_id=term), "account": Q(account_id=term), "audit": Q(public_id=term)}
        for prefix, narrow in wider.items():
            if is_id(term, prefix):
                return queryset.filter(Q(object_pk=term) | narrow), False
        return super().get_search_results(request, queryset, search_term)

    def label(self, row: AuditEntry) -> str:
        return f"{row.act} · {row.timestamp:%Y-%m-%d %H:%M:%S}"
