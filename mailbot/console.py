"""The start page of the console and its way around, put together from all apps. Imported by the template tags of the same name only."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from delivery.console import INBOUND_NEEDS, OUTBOUND_NEEDS, PROVIDER_EVENT_NEEDS
from delivery.models import InboundMail, OutboundMail, ProviderEvent
from delivery.outbound.states import State
from delivery.raw_mover import refused
from inboxes.console_roles import is_superuser, visible
from inboxes.models import Domain, Inbox, SendingDomain
from mailbot.lib.console_cells import age, list_url

Rows = QuerySet[Any]

MOST_COUNTED = 1_000  # beyond that a number tells an operator nothing new, and costs time
COMPLIANCE = "compliance"  # no list of rows
NAVIGATION = (
    ("inboxes.Inbox", "Inboxes"),
    ("threads.Thread", "Threads"),
    ("threads.Message", "Messages"),
    ("threads.Event", "Events"),
    ("delivery.InboundMail", "Inbound"),
    ("delivery.OutboundMail", "Outbound"),
    ("inboxes.SendingRecord", "Sending health"),
    ("inboxes.SendingDomain", "Sending domains"),
    ("delivery.StorageFigures", "Storage"),
    ("inboxes.Domain", "Domains"),
    ("inboxes.Provider", "Providers"),
    ("delivery.ProviderEvent", "Provider events"),
    ("inboxes.AddressRule", "Lists"),
    ("delivery.Suppression", "Suppressions"),
    ("inboxes.ApiKey", "API keys"),
    ("inboxes.Account", "Accounts"),
    ("inboxes.Membership", "Members"),
    (COMPLIANCE, "Compliance"),
    ("audit.AuditEntry", "Audit trail"),
    ("audit.Export", "Exports"),
    ("delivery.Erasure", "Erasures"),
    ("inboxes.LegalHold", "Legal holds"),
    ("inboxes.RetentionClass", "Retention"),
    ("auth.User", "Users"),
)


@dataclass(frozen=True, slots=True)
class Place:
    label: str
    url: str
    is_here: bool


def navigation(apps: Iterable[Any], path: str) -> list[Place]:
    """The lists that the user may see, in our order. `apps` is what the admin site says of them."""
    urls = {f"{app['app_label']}.{model['object_name']}": model["admin_url"] for app in apps for model in app["models"]}
    if urls.get("inboxes.Inbox"):
        urls[COMPLIANCE] = reverse("admin:inboxes_compliance")
    named = [(name, label, urls[name]) for name, label in NAVIGATION if urls.get(name)]
    is_compliance = "/compliance/" in path  # its pages are below those of inboxes
    return [
        Place(label, url, is_compliance if name == COMPLIANCE else path.startswith(url) and not is_compliance)
        for name, label, url in named
    ]


@dataclass(frozen=True, slots=True)
class Tally:
    """Some rows, how many they are, and since when the oldest of them waits; with the list that shows exactly them."""

    label: str
    count: int
    oldest: datetime | None
    url: str
    tone: str = "busy"

    @property
    def number(self) -> str:
        return str(self.count) if self.count <= MOST_COUNTED else f"{MOST_COUNTED:,}+"

    @property
    def age(self) -> str:
        return age(self.oldest) if self.oldest and self.oldest <= timezone.now() else ""


def tally(label: str, rows: Rows, since: str, url: str, tone: str = "busy") -> Tally:
    """One bounded query. `since` is the column of the moment from which a row waits, "" where none tells."""
    columns = rows.order_by().values("pk", *filter(None, [since]))[: MOST_COUNTED + 1]
    counted = columns.aggregate(count=Count("pk"), **({"oldest": Min(since)} if since else {}))
    return Tally(label, counted["count"], counted.get("oldest"), url, tone)


def needs_you(request: HttpRequest) -> list[Tally]:
    """What is stuck, failed, unknown or stopped, the worst first; empty when nothing needs an operator."""
    found = [
        *_outbound_needs(request),
        *_inbound_needs(request),
        *_provider_event_needs(request),
        *_stopped_inboxes(request),
        *_broken_domains(request),
    ]
    return sorted((one for one in found if one.count), key=lambda one: one.tone != "bad")


def _outbound_needs(request: HttpRequest) -> list[Tally]:
    mails = visible(request, OutboundMail.objects.all())
    since = {"late": "next_attempt_at", "failed": "finished_at"}
    return [
        tally(
            f"Outbound mail {label}",
            narrow(mails),
            since.get(name, "created_at"),
            list_url("delivery_outboundmail", needs=name),
            "warn" if name == "late" else "bad",
        )
        for name, (label, narrow) in OUTBOUND_NEEDS.items()
        if name != "sending"  # that is a mail at work; one whose worker is gone counts as overdue
    ]


def _inbound_needs(request: HttpRequest) -> list[Tally]:
    if not is_superuser(request):
        return []
    tones = {"late": "warn", "failed": "bad"}
    storage = list_url("delivery_storagefigures")
    return [
        tally("Raw mail that the object store did not take", refused(), "mail_at", storage, "bad"),
        *(
            tally(
                f"Inbound mail {label}",
                narrow(InboundMail.objects.all()),
                "received_at",
                list_url("delivery_inboundmail", needs=name),
                tones[name],
            )
            for name, (label, narrow) in INBOUND_NEEDS.items()
        ),
    ]


def _provider_event_needs(request: HttpRequest) -> list[Tally]:
    """Not those of no mail of ours: where other software sends through the same account of an ESP, most are."""
    if not is_superuser(request):
        return []
    shown = {"failed": ("processed_at", "bad"), "late": ("next_attempt_at", "warn")}
    return [
        tally(
            f"Provider events {PROVIDER_EVENT_NEEDS[name][0]}",
            PROVIDER_EVENT_NEEDS[name][1](ProviderEvent.objects.all()),
            since,
            list_url("delivery_providerevent", needs=name),
            tone,
        )
        for name, (since, tone) in shown.items()
    ]


def _stopped_inboxes(request: HttpRequest) -> list[Tally]:
    inboxes = visible(request, Inbox.objects.all())
    stopped = {"tripped": ("Inboxes stopped by a breaker", "bad"), "paused": ("Inboxes paused", "warn")}
    domains = visible(request, SendingDomain.objects.filter(status=SendingDomain.Status.TRIPPED))
    tripped = list_url("inboxes_sendingdomain", status="tripped")
    return [
        *(
            tally(label, inboxes.filter(status=status), "", list_url("inboxes_inbox", status=status), tone)
            for status, (label, tone) in stopped.items()
        ),
        tally("Domains stopped by a breaker", domains, "", tripped, "bad"),
    ]


def _broken_domains(request: HttpRequest) -> list[Tally]:
    domains = visible(request, Domain.objects.all())
    broken = {
        "failing": ("Domains without proof of ownership", "bad"),
        "degraded": ("Domains with broken records", "warn"),
    }
    return [
        tally(label, domains.filter(status=status), "", list_url("inboxes_domain", status=status), tone)
        for status, (label, tone) in broken.items()
    ]


def queues(request: HttpRequest) -> list[Tally]:
    """The queues as they are, also when all is well."""
    mails, inbound, outbound = (
        visible(request, OutboundMail.objects.all()),
        "delivery_inboundmail",
        "delivery_outboundmail",
    )
    due = mails.filter(state=State.QUEUED, next_attempt_at__lte=timezone.now())
    later = mails.filter(state=State.QUEUED, next_attempt_at__gt=timezone.now())
    sending = mails.filter(state=State.SENDING)
    shown = [
        tally("Outbound, due now", due, "next_attempt_at", list_url(outbound, state="queued")),
        tally("Outbound, due later", later, "next_attempt_at", list_url(outbound, state="queued")),
        tally("Outbound, being sent", sending, "created_at", list_url(outbound, needs="sending")),
    ]
    if not is_superuser(request):
        return shown
    stored = InboundMail.objects.unfinished().filter(state=InboundMail.State.STORED)
    processing = InboundMail.objects.unfinished().filter(state=InboundMail.State.PROCESSING)
    events = ProviderEvent.objects.filter(processed_at=None)
    return [
        tally("Inbound, waiting", stored, "received_at", list_url(inbound, state="stored")),
        tally("Inbound, being read", processing, "received_at", list_url(inbound, state="processing")),
        *shown,
        tally(
            "Provider events, to be processed",
            events,
            "received_at",
            list_url("delivery_providerevent", state="pending"),
        ),
    ]
