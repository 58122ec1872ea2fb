"""The page of the console that says what takes how much room, and whether raw mail gets into the object store."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone

from delivery.models import RawObject, StorageFigures
from delivery.raw_mover import MOVE_TASK, refused, try_again_now
from delivery.storage_figures import SERVER
from inboxes.console import ConsoleAdmin
from inboxes.console_roles import Rows, is_superuser
from inboxes.models import Account
from mailbot.lib.hints import ring
from mailbot.lib.scope import acting_for_everybody

MOST_ACCOUNTS = 100
MOST_COUNTED = 1_000
# The worker counts every five minutes or, where that takes long, more rarely.
OLD = timedelta(minutes=30)
BEHIND = timedelta(minutes=15)
ADDED_UP = (
    "messages",
    "raw_in_rows",
    "raw_in_rows_octets",
    "raw_in_store",
    "raw_in_store_octets",
    "attachments",
    "attachments_octets",
    "files",
    "files_octets",
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Mail that the store did not take; it is safe where it is."""

    count: int
    error: str

    @property
    def number(self) -> str:
        return f"{self.count:,}" if self.count <= MOST_COUNTED else f"{MOST_COUNTED:,}+"


class StorageAdmin(ConsoleAdmin):
    """One page in place of a list: the figures of the accounts that the user may see, and for a superuser of the server."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="delivery_storagefigures_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self.move_now(request)
        rows = self.get_queryset(request).exclude(pk=SERVER)
        with acting_for_everybody("the server's own figures"):
            server = StorageFigures.objects.filter(pk=SERVER).first()
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Storage",
            "figures": _added_up(rows, server),
            "accounts": _accounts(rows),
            "most_accounts": MOST_ACCOUNTS,
            "is_old": server is not None and timezone.now() - server.counted_at > OLD,
        }
        if is_superuser(request):
            context |= {"server": server, "trouble": _trouble(), "is_behind": _is_behind(server), **_rules()}
        return TemplateResponse(request, "admin/delivery/storagefigures/change_list.html", context)

    def move_now(self, request: HttpRequest) -> HttpResponse:
        """The button: no pause after a failure, and a hint to the worker."""
        if not is_superuser(request):
            raise PermissionDenied
        try_again_now()
        ring(MOVE_TASK)
        self.message_user(request, "The worker was asked to move raw mail now.", messages.SUCCESS)
        return HttpResponseRedirect(request.path)


def _added_up(rows: Rows, server: StorageFigures | None) -> dict[str, Any] | None:
    if server is None:
        return None
    sums: dict[str, Any] = {name: number or 0 for name, number in rows.aggregate(**_sums()).items()}
    saved = sums["attachments_octets"] - sums["files_octets"]
    share = 100 * saved / sums["attachments_octets"] if sums["attachments_octets"] else 0
    return {**sums, "saved_octets": saved, "saved_percent": share, "counted_at": server.counted_at}


def _sums() -> dict[str, Sum]:
    return {name: Sum(name) for name in ADDED_UP}


def _accounts(rows: Rows) -> list[tuple[str, StorageFigures]]:
    """The ones that take most, with their names."""
    all_octets = F("raw_in_rows_octets") + F("raw_in_store_octets") + F("files_octets")
    found = list(rows.annotate(octets=all_octets).order_by("-octets", "-messages", "pk")[:MOST_ACCOUNTS])
    names = dict(Account.objects.filter(pk__in=[row.pk for row in found]).values_list("pk", "name"))
    for row in found:
        row.saved_octets = row.attachments_octets - row.files_octets
    return [(names[row.pk], row) for row in found if row.pk in names]


def _trouble() -> Trouble | None:
    latest = refused().order_by("-lease_until").first()
    return Trouble(refused()[: MOST_COUNTED + 1].count(), latest.error) if latest else None


def _is_behind(server: StorageFigures | None) -> bool:
    """Whether something should have been moved for a while when it was counted, and was not."""
    if server is None or server.oldest_in_rows is None:
        return False
    return server.counted_at - server.oldest_in_rows > timedelta(seconds=settings.RAW_MOVE_AFTER) + BEHIND


def _rules() -> dict[str, Any]:
    leaving = RawObject.objects.filter(state=RawObject.State.LEAVING)[: MOST_COUNTED + 1].count()
    return {
        "place": _place(),
        "move_after": timedelta(seconds=settings.RAW_MOVE_AFTER),
        "raw_days": settings.RAW_RETENTION_DAYS,
        "inbound_days": settings.INBOUND_RETENTION_DAYS,
        "leaving": leaving,
    }


def _place() -> str:
    store = settings.STORAGES["default"]["OPTIONS"]
    if "bucket_name" in store:
        at = f" at {store['endpoint_url']}" if store.get("endpoint_url") else ""
        return f"bucket {store['bucket_name']}{at}"
    return f"folder {store.get('location', '')}"
