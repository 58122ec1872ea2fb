"""Threads, messages and events in the console: read, but for mail that a list set aside, which can be accepted."""

from typing import Any

from django.contrib import admin
from django.db.models import Case, F, Prefetch, Value, When
from django.db.models.functions import Substr
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone

from audit.reads import named
from audit.record import Act
from inboxes.console import AccountFilter, ConsoleAdmin, InboxFilter, Question, choice_filter
from inboxes.console_reviews import may_read, told_of_read
from inboxes.console_roles import Rows
from mailbot.lib.console_cells import (
    NOTHING,
    badge_column,
    json_column,
    link_column,
    number_column,
    page_link,
    shortened,
    size_column,
    text_column,
    time_column,
)
from mailbot.lib.ids import is_id
from threads.console_files import attachment
from threads.conversation import accept_rejected
from threads.events import EventType
from threads.leases import owner_of, take_away
from threads.models import Attachment, Event, Message, Thread
from threads.verdicts_shown import verdicts_of

MOST_MESSAGES = 200
MOST_EVENTS = 200
SHOWN_IN_THREAD = 4_000  # characters of a message on the page of its thread
SHOWN_ALONE = 200_000  # and on its own page; the raw download has the rest


def _items(name: str, label: str) -> Any:
    """A JSON list of short words: flags, labels."""

    @admin.display(description=label)
    def column(row: Any) -> Any:
        return shortened(", ".join(str(item) for item in getattr(row, name)), 60)

    return column


@admin.display(description="subject")
def subject(row: Any) -> Any:
    return shortened(row.subject or "(no subject)", 70)


@admin.display(description="participants")
def participants(thread: Thread) -> Any:
    others = len(thread.participants) - 2
    return shortened(", ".join(thread.participants[:2]) + (f" and {others} more" if others > 0 else ""), 70)


@admin.display(description="claimed by")
def owner(thread: Thread) -> Any:
    holder = owner_of(thread, timezone.now())
    return shortened(str(holder), 40) if holder else NOTHING


TAKE_AWAY = Question(
    title="Release a thread",
    explanation="The agent that claimed it no longer holds it: others can claim it and reply. Nothing else changes.",
    button="Release",
    done="thread(s) released",
)


@admin.register(Thread)
class ThreadAdmin(ConsoleAdmin):
    list_act, page_act = Act.THREAD_LISTED, Act.THREAD_READ
    list_display = [
        subject,
        link_column("inbox", "inboxes_inbox"),
        participants,
        number_column("message_count", "messages"),
        badge_column("status"),
        owner,
        _items("labels", "labels"),
        time_column("last_message_at", "last message"),
    ]
    actions = ["release"]
    list_select_related = ["inbox"]
    list_filter = [choice_filter("status", "status", Thread.Status.choices), AccountFilter, InboxFilter]
    search_fields = ["subject", "inbox__address"]
    search_ids = {"thread": "pk", "inbox": "inbox_id", "account": "account_id"}
    search_window = 20_000
    search_help_text = "Subject or inbox address, among the newest 20,000 threads or in the chosen inbox; or an id."
    change_form_template = "admin/threads/thread/change_form.html"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    link_column("inbox", "inboxes_inbox"),
                    badge_column("status"),
                    _items("labels", "labels"),
                    participants,
                ]
            },
        ),
        (
            None,
            {
                "fields": [
                    "id",
                    owner,
                    time_column("lease_until", "until"),
                    number_column("message_count", "messages"),
                    time_column("created_at", "created"),
                    time_column("last_message_at", "last message"),
                ]
            },
        ),
    ]

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        """Latest activity first where an index gives that: inside one inbox. Over all inboxes the newest threads first."""
        return ["-last_message_at", "-id"] if InboxFilter.parameter_name in request.GET else ["-id"]

    @admin.action(description="Release…", permissions=["operate"])
    def release(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset, TAKE_AWAY, take_away)

    def offers(self, action: str, row: Thread) -> bool:
        return owner_of(row, timezone.now()) is not None

    def details(self, request: HttpRequest, row: Thread) -> dict[str, Any]:
        reads = may_read(request, row.account_id, row.inbox_id)
        return {"conversation": conversation(row), "most": MOST_MESSAGES, "may_read": reads}

    def parts_shown(self, request: HttpRequest, row: Thread) -> dict[str, Any]:
        ids = list(row.messages.order_by("sequence").values_list("pk", flat=True)[:MOST_MESSAGES])
        return {**words_shown(request, row), **named("message", ids)}


def words_shown(request: HttpRequest, row: Any) -> dict[str, Any]:
    """A reviewer's page has subject and addresses, and what the mail says only in a review of its inbox."""
    return told_of_read(request, row.account_id, row.inbox_id)


def conversation(thread: Thread) -> Rows:
    """The first 200 messages, oldest first, with the new words of each: bodies may be large, so the database cuts them."""
    words = Case(When(extracted_text="", then=F("body_text")), default=F("extracted_text"))
    columns = (
        "id thread_id direction status subject from_address from_name to cc flags created_at attachment_count".split()
    )
    files = Prefetch(
        "attachments", Attachment.objects.only("id", "message_id", "filename", "size").order_by("position")
    )
    messages = thread.messages.order_by("sequence").only(*columns).annotate(words=Substr(words, 1, SHOWN_IN_THREAD + 1))
    return messages.annotate(most_words=Value(SHOWN_IN_THREAD)).prefetch_related(files)[:MOST_MESSAGES]


ACCEPT = Question(
    title="Accept blocked mail",
    explanation="It enters its conversation as if it came now, and whoever waits for mail gets it. The lists stay as they are.",
    button="Accept",
    done="message(s) accepted",
)


@admin.display(description="from")
def sender(message: Message) -> Any:
    return shortened(message.from_address, 50)


@admin.register(Message)
class MessageAdmin(ConsoleAdmin):
    list_act, page_act = Act.MESSAGE_LISTED, Act.MESSAGE_READ
    list_display = [
        subject,
        badge_column("direction"),
        badge_column("status"),
        sender,
        link_column("inbox", "inboxes_inbox"),
        _items("flags", "flags"),
        number_column("attachment_count", "files"),
        time_column("created_at", "time"),
    ]
    list_filter = [
        choice_filter("direction", "direction", Message.Direction.choices),
        choice_filter("status", "status", Message.Status.choices),
        choice_filter(
            "flag",
            "flag",
            [
                (flag, flag.replace("_", " "))
                for flag in ("degraded", "thread_suspect", "report", "from_forged", "lookalike_domain", "dkim_replayed")
            ],
            lambda rows, v: rows.filter(flags__has_item=v),
        ),
        AccountFilter,
        InboxFilter,
    ]
    search_fields = ["subject", "from_address", "inbox__address", "message_id_header"]
    search_ids = {
        "msg": "pk",
        "thread": "thread_id",
        "inbox": "inbox_id",
        "account": "account_id",
        "inmail": "source_id",
    }
    actions = ["accept"]
    search_window = 20_000
    search_help_text = (
        "Subject, sender, inbox address or Message-ID, among the newest 20,000 or in the chosen inbox; or an id."
    )
    change_form_template = "admin/threads/message/change_form.html"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    text_column("from_name", "from"),
                    text_column("from_address", "address"),
                    badge_column("direction"),
                ]
            },
        ),
        (
            None,
            {
                "fields": [
                    badge_column("status"),
                    _items("flags", "flags"),
                    _items("labels", "labels"),
                    number_column("repeat_count", "came again"),
                ]
            },
        ),
        (None, {"fields": [link_column("inbox", "inboxes_inbox"), link_column("thread", "threads_thread"), "id"]}),
        (
            None,
            {
                "fields": [
                    time_column("created_at", "filed"),
                    time_column("sent_at", "Date header"),
                    size_column("size"),
                ]
            },
        ),
    ]

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        """Newest first: by the number in the inbox where one is chosen, by id over all of them. Both have an index."""
        return ["-sequence"] if InboxFilter.parameter_name in request.GET else ["-id"]

    def get_queryset(self, request: HttpRequest) -> Rows:
        """A list needs no bodies, however many megabytes they are; the page of one message does."""
        rows = super().get_queryset(request)
        if request.resolver_match and str(request.resolver_match.url_name).endswith("_changelist"):
            columns = "id account_id subject direction status from_address flags attachment_count created_at inbox__address".split()
            return rows.select_related("inbox").only(*columns)
        return rows.select_related("inbox", "thread")

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(attachment)
        return [path("file/<str:attachment_id>/", page, name="threads_attachment"), *super().get_urls()]

    @admin.action(description="Accept…", permissions=["operate"])
    def accept(self, request: HttpRequest, queryset: Rows) -> HttpResponse | None:
        return self.ask_first(request, queryset.filter(status=Message.Status.REJECTED), ACCEPT, accept_rejected)

    def parts_shown(self, request: HttpRequest, row: Message) -> dict[str, Any]:
        return words_shown(request, row)

    def offers(self, action: str, row: Message) -> bool:
        return row.status == Message.Status.REJECTED

    def details(self, request: HttpRequest, row: Message) -> dict[str, Any]:
        people = [("To", row.to), ("Cc", row.cc), ("Bcc", row.bcc), ("Reply-To", row.reply_to)]
        events = Event.objects.filter(message_id=row.pk, account_id=row.account_id).order_by("pk")[:MOST_EVENTS]
        return {
            "may_read": may_read(request, row.account_id, row.inbox_id),
            "people": [(name, entries) for name, entries in people if entries],
            "text": row.body_text[:SHOWN_ALONE],
            "html": row.body_html[:SHOWN_ALONE],
            "cut": max(len(row.body_text), len(row.body_html)) > SHOWN_ALONE,
            "why": [(k.replace("_", " "), v) for k, v in row.explanation.get("thread", {}).items() if v],
            "checks": [(k.replace("_", " "), v) for k, v in _checks(row).items() if v],
            "verdicts": verdicts_of(row),
            "files": row.attachments.order_by("position"),
            "timeline": events,
        }


def _checks(message: Message) -> dict[str, Any]:
    lists = message.explanation.get("list", {}).get("explanation")
    accepted = message.explanation.get("accepted", {}).get("reason")
    checks = {k: v for k, v in message.explanation.get("checks", {}).items() if k not in ("authentication", "trust")}
    return {**checks, "lists": lists, "accepted because": accepted}


def _object_link(name: str, model: str, prefix: str) -> Any:
    @admin.display(description=name.removesuffix("_id"))
    def column(event: Event) -> Any:
        value = getattr(event, name)
        return page_link(model, value, f"{value[:8]}…{value[-6:]}") if is_id(value, prefix) else value or NOTHING

    return column


@admin.register(Event)
class EventAdmin(ConsoleAdmin):
    list_display = [
        "type",
        time_column("occurred_at", "time"),
        link_column("inbox", "inboxes_inbox"),
        text_column("recipient", length=50),
        _object_link("thread_id", "threads_thread", "thread"),
        _object_link("message_id", "threads_message", "msg"),
    ]
    list_select_related = ["inbox"]
    list_filter = [choice_filter("type", "type", [(t.value, t.value) for t in EventType]), AccountFilter, InboxFilter]
    search_fields = ["pk__exact"]
    search_ids = {"evt": "pk", "msg": "message_id", "thread": "thread_id", "inbox": "inbox_id", "account": "account_id"}
    search_help_text = "The id of an event, message, thread, inbox or account."
    fields = [
        "type",
        "id",
        link_column("inbox", "inboxes_inbox"),
        _object_link("thread_id", "threads_thread", "thread"),
        _object_link("message_id", "threads_message", "msg"),
        text_column("recipient", length=320),
        json_column("data"),
        time_column("occurred_at", "occurred"),
        time_column("recorded_at", "recorded"),
    ]
