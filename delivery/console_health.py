"""How sending goes: a page of figures of inboxes, domains and providers that do badly or are stopped, and the list of sending domains."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.safestring import SafeString

from delivery.outbound.breaker import window
from delivery.outbound.warm_up import end_warm_up, limit_on, start_warm_up
from delivery.provider_rows import TRIPPED
from inboxes.console import AccountFilter, ConsoleAdmin, Question, choice_filter
from inboxes.console_roles import Can, Rows, visible
from inboxes.models import Inbox, Mode, Provider, SendingDomain, WarmUpDay
from inboxes.sending_domains import resume_domain
from inboxes.sending_record import Figures, summed_by
from mailbot.lib.console_cells import badge_column, grouped, link_column, page_link, text_column, time_column

MOST_SHOWN = 50
NEAR = Decimal("0.5")  # of what trips a breaker
TONES = {"tripped": "bad", "on trial": "warn", "near": "warn"}


# --- The page of figures ---


@dataclass(frozen=True, slots=True)
class Line:
    link: SafeString
    figures: Figures
    state: str
    why: str

    @property
    def bounces(self) -> str:
        return _percent(self.figures.bounce_rate)

    @property
    def complaints(self) -> str:
        return _percent(self.figures.complaint_rate)

    @property
    def order(self) -> tuple[bool, bool, float]:
        """The worst first."""
        return self.state not in TONES, self.state == "near", -self.figures.bounce_rate


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f} %"


class HealthAdmin(ConsoleAdmin):
    """One page in place of a list, for the accounts that the user may see."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="inboxes_sendingrecord_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = self.get_queryset(request).filter(starts_at__gt=timezone.now() - window())
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Sending health",
            "hours": settings.BREAKER_WINDOW // 3600,
            "tables": [
                ("Inboxes", _inboxes(request, rows)),
                ("Domains of live inboxes", _domains(request, rows)),
                ("Providers", _providers(request, rows)),
            ],
            "most_shown": MOST_SHOWN,
            "limits": (settings.BREAKER_BOUNCES, settings.BREAKER_COMPLAINTS, settings.BREAKER_SENDS),
        }
        return TemplateResponse(request, "admin/inboxes/sendingrecord/change_list.html", context)


def _inboxes(request: HttpRequest, rows: Rows) -> list[Line]:
    tripped = visible(request, Inbox.objects.filter(status=Inbox.Status.TRIPPED))
    inboxes = {inbox.pk: inbox for inbox in tripped.order_by("-trials_at")[:MOST_SHOWN]}
    worst = [pk for (pk,) in _worst(rows, "inbox_id")]
    inboxes |= visible(request, Inbox.objects.all()).in_bulk(worst)
    figures = summed_by(rows.filter(inbox_id__in=inboxes), "inbox_id")
    return _sorted(
        Line(
            page_link("inboxes_inbox", pk, inbox.address),
            found := figures.get((pk,), Figures()),
            _state(inbox, found, settings.BREAKER_SENDS),
            inbox.status_reason,
        )
        for pk, inbox in inboxes.items()
    )


def _domains(request: HttpRequest, rows: Rows) -> list[Line]:
    live = rows.filter(inbox__mode=Mode.LIVE)
    known = {
        (row.account_id, row.domain): row
        for row in visible(request, SendingDomain.objects.filter(status=SendingDomain.Status.TRIPPED))[:MOST_SHOWN]
    }
    worst = _worst(live, "account_id", "inbox__domain")
    names = {*worst, *known}
    of_these = live.filter(account_id__in={one for one, _ in names}, inbox__domain__in={name for _, name in names})
    figures = summed_by(of_these, "account_id", "inbox__domain")
    return _sorted(
        Line(
            page_link("inboxes_sendingdomain", standing.pk, domain)
            if (standing := known.get((account_id, domain)))
            else page_link("inboxes_account", account_id, domain),
            found := figures.get((account_id, domain), Figures()),
            _state(standing, found, settings.BREAKER_DOMAIN_SENDS),
            standing.status_reason if standing else "",
        )
        for account_id, domain in sorted(names)
    )


def _providers(request: HttpRequest, rows: Rows) -> list[Line]:
    worst = [pk for (pk,) in _worst(rows.exclude(provider_id=""), "provider_id")]
    providers = visible(request, Provider.objects.all(), what=Can.OPERATE).in_bulk(worst)
    figures = summed_by(rows.filter(provider_id__in=providers), "provider_id")
    return _sorted(
        Line(
            page_link("inboxes_provider", pk, provider.name),
            found := figures.get((pk,), Figures()),
            "tripped" if provider.paused_reason.startswith(TRIPPED) else _near(found, settings.BREAKER_DOMAIN_SENDS),
            provider.paused_reason,
        )
        for pk, provider in providers.items()
    )


def _worst(rows: Rows, *names: str) -> list[tuple[Any, ...]]:
    """Those with the most bounces and complaints."""
    bad = rows.filter(Q(bounced__gt=0) | Q(complained__gt=0)).order_by().values_list(*names)
    return [
        tuple(row[:-1]) for row in bad.annotate(bad=Sum(F("bounced") + F("complained"))).order_by("-bad")[:MOST_SHOWN]
    ]


def _state(row: Inbox | SendingDomain | None, figures: Figures, fewest: int) -> str:
    if row is not None and row.status == "tripped":
        return "tripped" if row.trials_left is None else "on trial"
    return _near(figures, fewest)


def _near(figures: Figures, fewest: int) -> str:
    rates = ((figures.bounced, settings.BREAKER_BOUNCES), (figures.complained, settings.BREAKER_COMPLAINTS))
    is_near = any(limit is not None and number * 100 > NEAR * limit * figures.sent for number, limit in rates)
    return "near" if is_near and figures.sent >= fewest * NEAR else ""


def _sorted(found: Iterable[Line]) -> list[Line]:
    return sorted(found, key=lambda line: line.order)[:MOST_SHOWN]


# --- Sending domains ---


RESUME = Question(
    title="Resume domains",
    explanation="Their inboxes may send again, and what they sent so far is not counted against them.",
    button="Resume",
    done="domain(s) resumed",
)
END = Question(
    title="End warm-ups",
    explanation="From now on these domains send as much as anybody wants. What waits for its day leaves now.",
    warning="Receivers distrust a new domain that sends much at once.",
    button="End warm-up",
    done="warm-up(s) ended",
)
START = Question(
    title="Begin warm-ups",
    explanation="From today on these domains send as much a day as new ones.",
    button="Begin warm-up",
    done="warm-up(s) begun",
)


@admin.display(description="warm-up")
def warm_up(domain: SendingDomain) -> str:
    limit = limit_on(domain, timezone.now().date())
    if domain.warms_up_from is None or limit is None:
        return "none" if domain.warms_up_from is None else f"since {domain.warms_up_from}: done"
    return f"since {domain.warms_up_from}: {grouped(limit)} recipients today"


@admin.display(description="places taken")
def places_taken(domain: SendingDomain) -> str:
    """Of a page, not of a list: a query a row."""
    days = WarmUpDay.objects.filter(domain=domain, day__gte=timezone.now().date()).order_by("day")[:7]
    return ", ".join(f"{row.day}: {grouped(row.taken)} of {grouped(limit_on(domain, row.day) or 0)}" for row in days)


class SendingDomainAdmin(ConsoleAdmin):
    list_display = [
        "domain",
        badge_column("status"),
        text_column("status_reason", "why"),
        link_column("account", "inboxes_account"),
        warm_up,
    ]
    list_select_related = ["account"]
    list_filter = [choice_filter("status", "status", SendingDomain.Status.choices), AccountFilter]
    search_fields = ["domain"]
    search_ids = {"senddom": "pk", "account": "account_id"}
    fields = [
        "domain",
        link_column("account", "inboxes_account"),
        badge_column("status"),
        text_column("status_reason", "why", 500),
        time_column("trials_at", "trial sends from"),
        "trials_left",
        warm_up,
        places_taken,
        "id",
    ]
    actions = ["resume_domains", "end_warm_ups", "begin_warm_ups"]

    @admin.action(description="Resume…", permissions=["operate"])
    def resume_domains(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset.filter(status=SendingDomain.Status.TRIPPED), RESUME, resume_domain)

    @admin.action(description="End warm-up…", permissions=["operate"])
    def end_warm_ups(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset.filter(warms_up_from__isnull=False), END, end_warm_up)

    @admin.action(description="Begin warm-up…", permissions=["operate"])
    def begin_warm_ups(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset, START, start_warm_up)

    def offers(self, action: str, row: SendingDomain) -> bool:
        if action == "resume_domains":
            return row.status == SendingDomain.Status.TRIPPED
        return action == "begin_warm_ups" or row.warms_up_from is not None
