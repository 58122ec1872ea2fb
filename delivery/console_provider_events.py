"""What ESPs told by their calls, in the console: the server's rows, as InboundMail, so only superusers see them."""

from typing import Any

from django.contrib import admin
from django.db.models import F
from django.http import HttpRequest, HttpResponse

from delivery.console import PROVIDER_EVENT_NEEDS, events_in_state, needs_filter
from delivery.console_providers import esp_label
from delivery.esps import ESPS
from delivery.hooks.retrying import CAN_BE_RETRIED, retry_events
from delivery.models import OutboundMail, ProviderEvent
from inboxes.console import ConsoleAdmin, Question, choice_filter
from inboxes.console_roles import Rows
from inboxes.models import Provider
from mailbot.lib.console_cells import (
    NOTHING,
    badge_column,
    link_column,
    list_url,
    moment,
    page_link,
    shortened,
    text_column,
    time_column,
)
from mailbot.lib.ids import is_id

TRY_AGAIN = Question(
    title="Try provider events again",
    explanation="They are worked on anew, with all their attempts. Do this once the cause is mended.",
    button="Try again",
    done="event(s) are worked on anew",
    needs_reason=False,
)
KINDS: dict[str, str] = {
    ProviderEvent.Kind.TRACKING: "news",
    ProviderEvent.Kind.INBOUND: "incoming mail",
    ProviderEvent.Kind.CONFIRMATION: "confirmation",
}
IN_WORDS: dict[str, str] = {
    ProviderEvent.Kind.TRACKING: "news of a mail that was sent",
    ProviderEvent.Kind.INBOUND: "incoming mail",
    ProviderEvent.Kind.CONFIRMATION: "confirmation: the ESP asks whether it may call",
}


class ProviderFilter(admin.SimpleListFilter):
    """To one provider, whose page leads here; the list offers to leave it."""

    title = "provider"
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        chosen = str(request.GET.get("provider", ""))
        if not chosen:
            return []
        rows = Provider.objects.filter(pk=chosen if is_id(chosen, "provider") else "")
        return [(chosen, rows.values_list("name", flat=True).first() or "not found")]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        chosen = self.value()
        if chosen is None:
            return queryset
        return queryset.filter(provider_id=chosen) if is_id(chosen, "provider") else queryset.none()


@admin.display(description="ESP")
def esp(event: ProviderEvent) -> str:
    return esp_label(event.provider)


@admin.display(description="kind")
def kind(event: ProviderEvent) -> str:
    return KINDS.get(event.kind, event.kind)


@admin.display(description="kind")
def kind_in_words(event: ProviderEvent) -> str:
    return IN_WORDS.get(event.kind, event.kind)


@admin.display(description="type")
def told_type(event: ProviderEvent) -> Any:
    """That of incoming mail says nothing more than its kind."""
    return NOTHING if event.kind != ProviderEvent.Kind.TRACKING else shortened(event.type, 20)


@admin.display(description="next attempt")
def next_attempt(event: ProviderEvent) -> Any:
    return NOTHING if event.processed_at else moment(event.next_attempt_at)


@admin.display(description="mail")
def its_mail(event: ProviderEvent) -> Any:
    """Asked for by itself, without what the mail says."""
    mails = OutboundMail.objects.filter(pk=event.mail_id).annotate(subject=F("message__subject"))
    mail = mails.values_list("pk", "subject").first() if event.mail_id else None
    return page_link("delivery_outboundmail", mail[0], shortened(mail[1] or "(no subject)", 100)) if mail else NOTHING


class ProviderEventAdmin(ConsoleAdmin):
    account_path = None
    heading = "Provider events"
    list_display = [
        badge_column("state"),
        link_column("provider", "inboxes_provider"),
        esp,
        kind,
        told_type,
        text_column("recipient", length=50),
        time_column("received_at", "received"),
        "attempts",
        text_column("error", length=60),
    ]
    list_select_related = ["provider"]
    list_filter = [
        needs_filter(PROVIDER_EVENT_NEEDS),
        choice_filter("state", "state", [(state, state) for state in ProviderEvent.State.values], events_in_state),
        choice_filter("kind", "kind", list(KINDS.items())),
        choice_filter(
            "esp",
            "ESP",
            [(key, esp.label) for key, esp in ESPS.items() if esp.views],
            lambda events, esp: events.filter(provider__esp=esp),
        ),
        ProviderFilter,
    ]
    search_fields = ["recipient", "provider_message_id__exact"]
    search_ids = {"pevt": "pk", "provider": "provider_id", "outmail": "mail_id", "msg": "mail__message_id"}
    search_window = 20_000
    search_help_text = "Recipient or the provider's id of the mail, among the newest 20,000; or an id."
    change_form_template = "admin/delivery/providerevent/change_form.html"
    change_list_template = "admin/delivery/providerevent/change_list.html"
    fieldsets = [
        (None, {"fields": [badge_column("state"), "attempts", next_attempt, text_column("error", length=2000)]}),
        (
            "Came from",
            {
                "fields": [
                    link_column("provider", "inboxes_provider"),
                    esp,
                    time_column("received_at", "received"),
                    time_column("processed_at", "finished"),
                ]
            },
        ),
        (
            "Tells",
            {
                "fields": [
                    kind_in_words,
                    told_type,
                    text_column("recipient", length=254),
                    text_column("reason", length=2000),
                    time_column("occurred_at", "happened"),
                ]
            },
        ),
        (
            "Of which mail",
            {
                "fields": [
                    its_mail,
                    text_column("told_mail_id", "our id, as given back", 100),
                    text_column("provider_message_id", "the provider's id", 200),
                    text_column("final_message_id", "Message-ID", 200),
                ]
            },
        ),
        ("Names", {"fields": ["id", text_column("key"), time_column("lease_until", "held until")]}),
    ]
    actions = ["try_again"]

    def get_queryset(self, request: HttpRequest) -> Rows:
        """Without what is long; the page of one row asks for it by itself."""
        return super().get_queryset(request).defer("payload", "data", "provider__sealed")

    def details(self, request: HttpRequest, row: ProviderEvent) -> dict[str, Any]:
        is_kept = row.kind == ProviderEvent.Kind.INBOUND and row.state == ProviderEvent.State.PROCESSED
        inbound = list_url("delivery_inboundmail", source=row.provider.esp, q=row.recipient) if is_kept else ""
        return {"payload": row.payload, "data": row.data, "inbound": inbound, "provider": row.provider}

    def label(self, row: ProviderEvent) -> str:
        return (
            f"{esp(row)}: {row.type if row.kind == ProviderEvent.Kind.TRACKING else kind(row)} {row.recipient}".strip()[
                :200
            ]
        )

    @admin.action(description="Try again…", permissions=["operate"])
    def try_again(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        rows = queryset.filter(CAN_BE_RETRIED)
        return self.ask_first(request, rows, TRY_AGAIN, lambda event, reason: retry_events([event], reason) == 1)

    def offers(self, action: str, row: ProviderEvent) -> bool:
        return ProviderEvent.objects.filter(CAN_BE_RETRIED, pk=row.pk).exists()
