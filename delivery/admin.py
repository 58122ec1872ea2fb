"""The inbound and the outbound queue in the console, with the acts that only a person may decide on."""

from typing import Any

from django.contrib import admin
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.urls import path

from delivery.console import INBOUND_NEEDS, OUTBOUND_NEEDS, inbound_in_state, needs_filter, raw_message
from delivery.console_erasures import ErasureAdmin
from delivery.console_health import HealthAdmin, SendingDomainAdmin
from delivery.console_outbox import sending_page
from delivery.console_provider_events import ProviderEventAdmin
from delivery.console_providers import ProviderAdmin
from delivery.console_retention import RetentionAdmin
from delivery.console_storage import StorageAdmin
from delivery.console_suppressions import SuppressionAdmin
from delivery.esps import ESPS
from delivery.esps.base import Hook
from delivery.fidelity import Fidelity
from delivery.inbound.process import retry_failed
from delivery.models import Erasure, InboundMail, OutboundMail, ProviderEvent, Recipient, StorageFigures, Suppression
from delivery.outbound.states import State
from delivery.outbound.unknown import settle_unknown
from inboxes.console import AccountFilter, ConsoleAdmin, InboxFilter, Question, choice_filter
from inboxes.console_roles import Rows
from inboxes.models import Mode, Provider, RetentionClass, SendingDomain, SendingRecord
from mailbot.lib.console_cells import badge_column, flag_column, link_column, shortened, text_column, time_column
from threads.models import Message

MOST_SHOWN = 500
# What brings mail in: ourselves, and the ESPs that take it in for their customers.
SOURCES = {
    "smtp": "SMTP",
    "sandbox": "sandbox",
    **{key: esp.label for key, esp in ESPS.items() if Hook.INBOUND in esp.views},
}
FIDELITIES: dict[str, str] = {
    Fidelity.EXACT: "byte for byte as it was sent",
    Fidelity.DECODED: "the ESP made text of it, so that characters that are not UTF-8 are lost",
    Fidelity.REBUILT: "put together from the fields that the ESP gives",
}

admin.site.register(StorageFigures, StorageAdmin)
admin.site.register(Provider, ProviderAdmin)
admin.site.register(SendingRecord, HealthAdmin)
admin.site.register(SendingDomain, SendingDomainAdmin)
admin.site.register(ProviderEvent, ProviderEventAdmin)
admin.site.register(Suppression, SuppressionAdmin)
admin.site.register(Erasure, ErasureAdmin)
admin.site.register(RetentionClass, RetentionAdmin)


TRY_AGAIN = Question(
    title="Try inbound mail again",
    explanation="It is put back into the queue with all its attempts. Do this once the cause of the failure is mended.",
    button="Try again",
    done="mail(s) put back into the queue",
    needs_reason=False,
)


@admin.display(description="for")
def envelope_recipients(mail: InboundMail) -> Any:
    others = len(mail.recipients) - 2
    named = ", ".join(str(recipient.get("address", "")) for recipient in mail.recipients[:2])
    return shortened(named + (f" and {others} more" if others > 0 else ""), 70)


@admin.display(description="from")
def envelope_sender(mail: InboundMail) -> Any:
    return shortened(mail.envelope_sender or "<>", 40)


@admin.display(description="source")
def came_by(mail: InboundMail) -> str:
    return SOURCES.get(mail.source, mail.source)


@admin.display(description="fidelity")
def what_is_kept(mail: InboundMail) -> str:
    return f"{mail.fidelity}: {FIDELITIES[mail.fidelity]}" if mail.fidelity in FIDELITIES else mail.fidelity


# How far a row of either queue is, above everything else on its page.
QUEUE_STATE: Any = (
    None,
    {
        "fields": [
            badge_column("state"),
            "attempts",
            time_column("next_attempt_at", "next attempt"),
            text_column("error", length=2000),
        ]
    },
)


@admin.register(InboundMail)
class InboundMailAdmin(ConsoleAdmin):
    """The server's rows and no tenant's: one mail may be for several accounts, so only superusers see them."""

    account_path = None
    list_display = [
        badge_column("state"),
        envelope_sender,
        envelope_recipients,
        "size",
        "attempts",
        text_column("error", length=60),
        came_by,
        time_column("received_at", "received"),
    ]
    list_filter = [
        needs_filter(INBOUND_NEEDS),
        choice_filter("state", "state", InboundMail.State.choices, inbound_in_state),
        choice_filter("source", "source", list(SOURCES.items())),
    ]
    search_fields = ["envelope_sender", "recipients__icontains", "remote_addr__exact", "sha256__exact"]
    search_ids = {"inmail": "pk"}
    search_window = 20_000
    search_help_text = "Envelope sender, recipient, peer address or SHA-256, among the newest 20,000; or an id."
    change_form_template = "admin/delivery/inboundmail/change_form.html"
    fieldsets = [
        QUEUE_STATE,
        (
            None,
            {
                "fields": [
                    envelope_sender,
                    "size",
                    time_column("received_at", "received"),
                    time_column("processed_at", "processed"),
                ]
            },
        ),
        (
            "Came from",
            {
                "fields": [
                    came_by,
                    what_is_kept,
                    text_column("remote_addr", "peer address"),
                    text_column("helo", "HELO"),
                    flag_column("tls", "TLS"),
                ]
            },
        ),
        (
            "Names",
            {
                "fields": [
                    "id",
                    text_column("sha256", "SHA-256"),
                    text_column("dedupe_key", "dedupe key", 100),
                    time_column("lease_until", "held until"),
                ]
            },
        ),
    ]
    actions = ["try_again"]

    def get_queryset(self, request: HttpRequest) -> Rows:
        return super().get_queryset(request).defer("raw")

    def details(self, request: HttpRequest, row: InboundMail) -> dict[str, Any]:
        messages = Message.objects.filter(
            inbox__in=[item.get("inbox_id", "") for item in row.recipients], raw_sha256=row.sha256
        )
        made = messages.filter(source_id=row.pk).select_related("inbox").only("id", "subject", "inbox__address")
        return {"recipients": row.recipients[:MOST_SHOWN], "made": made[:MOST_SHOWN]}

    def label(self, row: InboundMail) -> str:
        return (
            f"{row.envelope_sender or '<>'} → {', '.join(str(item.get('address', '')) for item in row.recipients[:3])}"[
                :200
            ]
        )

    @admin.action(description="Try again…", permissions=["operate"])
    def try_again(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        failed = queryset.filter(state=InboundMail.State.FAILED)
        return self.ask_first(request, failed, TRY_AGAIN, lambda mail, reason: retry_failed([mail], reason) == 1)

    def offers(self, action: str, row: InboundMail) -> bool:
        return row.state == InboundMail.State.FAILED


IT_ARRIVED = Question(
    title="It arrived",
    explanation="You know, from the recipient or from the provider's own records, that the mail was sent. It becomes sent.",
    button="It arrived",
    done="mail(s) settled as sent",
)
IT_DID_NOT = Question(
    title="It did not arrive",
    explanation="You know that the provider does not have the mail. It becomes failed, and is not sent again.",
    button="It did not arrive",
    done="mail(s) settled as failed",
)
SEND_AGAIN = Question(
    title="Send it again",
    explanation="The mail goes back into the queue and is handed to the provider anew.",
    warning="If the provider took it the first time, every recipient gets it twice. Make sure first that it did not.",
    button="Send it again",
    done="mail(s) put back into the queue",
)


@admin.display(description="to")
def recipients(mail: OutboundMail) -> Any:
    addresses = [recipient.address for recipient in mail.recipients.all()]
    others = len(addresses) - 1
    return shortened(", ".join(addresses[:1]) + (f" and {others} more" if others > 0 else ""), 50)


@admin.display(description="provider")
def provider(mail: OutboundMail) -> Any:
    """Of a backend's dotted path the module, which names the provider."""
    return shortened(mail.provider.split(".")[-2] if "." in mail.provider else mail.provider, 20)


@admin.register(OutboundMail)
class OutboundMailAdmin(ConsoleAdmin):
    list_display = [
        badge_column("state"),
        text_column("message__subject", "subject", 60),
        link_column("inbox", "inboxes_inbox"),
        recipients,
        "attempts",
        time_column("next_attempt_at", "next attempt"),
        provider,
        text_column("error", length=60),
    ]
    list_filter = [
        needs_filter(OUTBOUND_NEEDS),
        choice_filter("state", "state", [(state.value, state.value) for state in State]),
        choice_filter("mode", "mode", Mode.choices),
        AccountFilter,
        InboxFilter,
    ]
    search_fields = ["message__subject", "inbox__address", "recipients__address", "provider_message_id__exact"]
    search_ids = {"outmail": "pk", "msg": "message_id", "inbox": "inbox_id", "account": "account_id"}
    search_window = 20_000
    search_help_text = (
        "Subject, inbox, recipient or the provider's id, among the newest 20,000 or in the chosen inbox; or an id."
    )
    change_form_template = "admin/delivery/outboundmail/change_form.html"
    fieldsets = [
        QUEUE_STATE,
        (
            None,
            {
                "fields": [
                    link_column("message", "threads_message"),
                    link_column("inbox", "inboxes_inbox"),
                    badge_column("mode"),
                ]
            },
        ),
        (
            "Provider",
            {
                "fields": [
                    text_column("provider"),
                    text_column("provider_message_id", "its id", 200),
                    text_column("final_message_id", "final Message-ID", 200),
                    flag_column("track_opens", "asked to track opens"),
                ]
            },
        ),
        (
            "Times",
            {
                "fields": [
                    time_column("created_at", "queued"),
                    time_column("lease_until", "held until"),
                    time_column("finished_at", "finished"),
                ]
            },
        ),
        ("Names", {"fields": ["id", "request_id", text_column("envelope_sender", "envelope sender", 254)]}),
    ]
    actions = ["it_arrived", "it_did_not", "send_again"]

    def get_queryset(self, request: HttpRequest) -> Rows:
        """Without the raw bytes, and without the bodies of the message."""
        columns = [
            field.attname
            for field in OutboundMail._meta.concrete_fields
            if field.name not in ("raw", "inbox", "message")
        ]
        mails = super().get_queryset(request).select_related("inbox", "message")
        mails = mails.only(*columns, "inbox__address", "message__subject", "message__thread_id")
        return mails.prefetch_related(Prefetch("recipients", Recipient.objects.order_by("pk")))

    def get_urls(self) -> list[Any]:
        raw = path("raw/<str:message_id>/", self.admin_site.admin_view(raw_message), name="delivery_raw")
        sending = path("sending/", self.admin_site.admin_view(sending_page), name="delivery_sending")
        return [raw, sending, *super().get_urls()]

    def details(self, request: HttpRequest, row: OutboundMail) -> dict[str, Any]:
        return {"recipients": row.recipients.all()[:MOST_SHOWN], "attempts": row.send_attempts.order_by("number")}

    def label(self, row: OutboundMail) -> str:
        to = ", ".join(recipient.address for recipient in row.recipients.all()[:3])
        return f"{row.message.subject[:100] or '(no subject)'} → {to}"[:200]

    @admin.action(description="It arrived…", permissions=["operate"])
    def it_arrived(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.settle(request, queryset, IT_ARRIVED, State.SENT)

    @admin.action(description="It did not arrive…", permissions=["operate"])
    def it_did_not(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.settle(request, queryset, IT_DID_NOT, State.FAILED)

    @admin.action(description="Send it again…", permissions=["operate"])
    def send_again(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.settle(request, queryset, SEND_AGAIN, State.QUEUED)

    def settle(self, request: HttpRequest, queryset: Rows, question: Question, state: State) -> HttpResponse | None:
        unknown = queryset.filter(state=State.UNKNOWN)
        return self.ask_first(request, unknown, question, lambda mail, reason: settle_unknown(mail, state, reason))

    def offers(self, action: str, row: OutboundMail) -> bool:
        return row.state == State.UNKNOWN.value
