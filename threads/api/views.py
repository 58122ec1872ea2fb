"""/v1/inboxes/{inbox_id}/messages and /threads, and /v1/events: reading and labelling."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from django.db.models import QuerySet
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from audit.reads import named, record_listed, record_read
from audit.record import Act
from inboxes.api.views import InboxScopedView
from inboxes.permissions import EVENTS_READ, MESSAGES_READ, MESSAGES_WRITE, THREADS_READ, THREADS_WRITE
from mailbot.api.errors import ApiError, Code, invalid, not_found
from mailbot.api.pagination import decoded, encoded, paginated
from mailbot.api.schema import described
from mailbot.api.views import data
from threads.api.serializers import (
    EventQuery,
    EventSerializer,
    ExplanationSerializer,
    LabelsBody,
    MessageQuery,
    MessageSerializer,
    ThreadPageQuery,
    ThreadPatch,
    ThreadQuery,
    ThreadSerializer,
    ThreadWithMessagesSerializer,
)
from threads.attachments import ContentGone, content_of
from threads.filters import EVENT_FILTERS, MESSAGE_FILTERS, THREAD_FILTERS, BadMoment, narrowed, without_set_aside
from threads.labels import change_thread, replace_labels
from threads.models import Event, Message, Thread
from threads.shown import read_events, read_list_of_messages, read_messages, read_threads

MESSAGES_IN_A_THREAD = 200
# What a browser may show by itself; everything else is a download.
SHOWN_INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def represent_messages(messages: list[Message]) -> Any:
    return MessageSerializer(messages, many=True).data


def represent_message(message: Message) -> Any:
    return MessageSerializer(message).data


class MessageScopedView(InboxScopedView):
    """A view of what one inbox holds."""

    def messages(self, inbox_id: str) -> QuerySet[Message]:
        """Of an inbox that the key is known to see."""
        return Message.objects.filter(inbox=inbox_id, account_id=self.key.account_id)

    def message(self, inbox_id: str, message_id: str) -> QuerySet[Message]:
        """The one message, if the key may see it. Whether that is because of the inbox need not be asked first."""
        return self.scoped(Message.objects.filter(inbox=inbox_id, pk=message_id))

    def get_message(self, inbox_id: str, message_id: str) -> Message:
        message = self.message(inbox_id, message_id).prefetch_related("attachments").first()
        if message is None:
            raise not_found()
        return message

    def note_read(self, act: Act, object_type: str, inbox_id: str, object_id: str, **told: Any) -> None:
        """In the trail, before it is answered."""
        record_read(act, object_type, object_id, account_id=self.key.account_id, inbox_id=inbox_id, **told)

    def recorded(
        self, act: Act, object_type: str, inbox_id: str, represent: Callable[[list[Any]], Any]
    ) -> Callable[[list[Any]], Any]:
        """`represent`, which also writes down what the list shows."""

        def shown(rows: list[Any]) -> Any:
            ids = [row.pk for row in rows]
            record_listed(act, object_type, ids, account_id=self.key.account_id, inbox_id=inbox_id)
            return represent(rows)

        return shown

    def narrowed(self, rows: QuerySet[Any], filters: dict[str, Any], query: dict[str, Any]) -> QuerySet[Any]:
        try:
            return narrowed(rows, filters, query)
        except BadMoment as error:
            raise invalid("after" if "after" in query else "before", str(error)) from error


class MessagesView(MessageScopedView):
    """GET /inboxes/{inbox_id}/messages, newest first"""

    needs = {"GET": MESSAGES_READ}

    @described("List messages", query=MessageQuery, answer=MessageSerializer, many=True)
    def get(self, request: Request, inbox_id: str) -> Response:
        """Newest first, in the order in which they were filed: whoever goes on with `after` misses none. Each body is cut at 50,000
        characters, and the flag `body_truncated` says so; the message itself has all of it."""
        inbox_id = self.check_inbox(inbox_id)
        query = self.query(MessageQuery)
        shown = without_set_aside(self.messages(inbox_id), query)
        messages = self.narrowed(shown, MESSAGE_FILTERS, query)
        represent = self.recorded(Act.MESSAGE_LISTED, "message", inbox_id, represent_messages)
        return paginated(messages, query, represent, ("-sequence",), read_list_of_messages)


class MessageView(MessageScopedView):
    """GET /inboxes/{inbox_id}/messages/{message_id}"""

    needs = MESSAGES_READ

    @described("Read a message", answer=MessageSerializer)
    def get(self, request: Request, inbox_id: str, message_id: str) -> Response:
        found = read_messages(self.message(inbox_id, message_id))
        if not found:
            raise not_found()
        self.note_read(Act.MESSAGE_READ, "message", inbox_id, message_id)
        return data(represent_message(found[0]))


class ExplainView(MessageScopedView):
    """GET …/messages/{message_id}/explain: why this thread, which checks, which labels"""

    needs = MESSAGES_READ

    @described("Explain a message", answer=ExplanationSerializer, name="explain_message")
    def get(self, request: Request, inbox_id: str, message_id: str) -> Response:
        """Why it is in its thread, and what was noticed of it."""
        message = self.get_message(inbox_id, message_id)
        self.note_read(Act.MESSAGE_READ, "message", inbox_id, message_id, part="explanation")
        told = {
            "message_id": message.pk,
            "thread_id": message.thread_id,
            "flags": message.flags,
            "labels": message.labels,
        }
        return data(
            {
                "list": None,
                "intake": None,
                "automatic": [],
                "report": None,
                **message.explanation,
                **told,
                "repeat_count": message.repeat_count,
            }
        )


class LabelsView(MessageScopedView):
    """PUT …/messages/{message_id}/labels"""

    needs = MESSAGES_WRITE

    @described("Replace the labels of a message", body=LabelsBody, answer=MessageSerializer)
    def put(self, request: Request, inbox_id: str, message_id: str) -> Response:
        """Those that are not given are removed."""
        message = self.get_message(inbox_id, message_id)
        return data(represent_message(replace_labels(message, self.body(LabelsBody, request)["labels"])))


class AttachmentView(MessageScopedView):
    """GET …/messages/{message_id}/attachments/{attachment_id}: the bytes, as a download that no browser runs"""

    needs = MESSAGES_READ

    @described(
        "Download an attachment", media_type=("application/octet-stream", *sorted(SHOWN_INLINE)), errors=(Code.GONE,)
    )
    def get(self, request: Request, inbox_id: str, message_id: str, attachment_id: str) -> HttpResponse:
        """The bytes, as a download that no browser runs. Only PNG, JPEG, GIF and WebP keep their type."""
        attachment = self.get_message(inbox_id, message_id).attachments.filter(pk=attachment_id).first()
        if attachment is None:
            raise not_found()
        try:
            content = content_of(attachment)
        except ContentGone as error:
            raise file_gone() from error
        self.note_read(Act.ATTACHMENT_READ, "attachment", inbox_id, attachment_id, message=message_id)
        shown = attachment.content_type in SHOWN_INLINE
        response = HttpResponse(content, content_type=attachment.content_type if shown else "application/octet-stream")
        return as_download(response, attachment.filename)


def file_gone() -> ApiError:
    return ApiError(Code.GONE, "The file is no longer kept.", fix="Read the message itself, or its raw mail.")


def as_download(response: HttpResponse, filename: str) -> HttpResponse:
    """Headers under which foreign content is harmless in a browser. The name is in both forms of RFC 6266."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in filename)
    response["Content-Disposition"] = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    return response


class ThreadsView(MessageScopedView):
    """GET /inboxes/{inbox_id}/threads, latest activity first"""

    needs = THREADS_READ

    @described("List threads", query=ThreadQuery, answer=ThreadSerializer, many=True)
    def get(self, request: Request, inbox_id: str) -> Response:
        """Latest activity first."""
        inbox_id = self.check_inbox(inbox_id)
        query = self.query(ThreadQuery)
        there = Thread.objects.filter(inbox=inbox_id, message_count__gt=0)  # else it holds what was rejected only
        threads = self.narrowed(there, THREAD_FILTERS, query)
        represent = self.recorded(Act.THREAD_LISTED, "thread", inbox_id, represent_threads)
        return paginated(threads, query, represent, ("-last_message_at", "-id"), read_threads)


class ThreadScopedView(MessageScopedView):
    """A view of one thread."""

    def get_thread(self, inbox_id: str, thread_id: str) -> Thread:
        return self.one(Thread.objects.filter(inbox=inbox_id), thread_id)


class ThreadView(ThreadScopedView):
    """GET|PATCH /inboxes/{inbox_id}/threads/{thread_id}"""

    needs = {"GET": THREADS_READ, "PATCH": THREADS_WRITE}

    @described("Read a thread with its messages", query=ThreadPageQuery, answer=ThreadWithMessagesSerializer)
    def get(self, request: Request, inbox_id: str, thread_id: str) -> Response:
        """Oldest message first, 200 at a time; `messages_cursor` leads to the next ones."""
        return data(self.with_messages(self.get_thread(inbox_id, thread_id)))

    def with_messages(self, thread: Thread) -> dict[str, Any]:
        """Oldest first, 200 at a time; `messages_cursor` leads to the next ones (`?cursor=`)."""
        messages = without_set_aside(thread.messages.order_by("sequence"), {})
        if cursor := self.query(ThreadPageQuery).get("cursor"):
            messages = messages.filter(sequence__gt=decoded(cursor, ("sequence",), Message)[0])
        found = read_list_of_messages(messages[: MESSAGES_IN_A_THREAD + 1])
        more = len(found) > MESSAGES_IN_A_THREAD
        shown = found[:MESSAGES_IN_A_THREAD]
        cursor = encoded(shown[-1], ("sequence",)) if more else None
        names = named("message", [message.pk for message in shown])
        self.note_read(Act.THREAD_READ, "thread", thread.inbox_id, thread.pk, **names)
        return {**ThreadSerializer(thread).data, "messages": represent_messages(shown), "messages_cursor": cursor}

    @described("Change a thread", body=ThreadPatch, answer=ThreadSerializer)
    def patch(self, request: Request, inbox_id: str, thread_id: str) -> Response:
        """Its labels, its status, or both."""
        thread = self.get_thread(inbox_id, thread_id)
        changes = self.body(ThreadPatch, request)
        return data(ThreadSerializer(change_thread(thread, changes) if changes else thread).data)


class ThreadEventsView(ThreadScopedView):
    """GET /inboxes/{inbox_id}/threads/{thread_id}/events, newest first"""

    needs = EVENTS_READ

    @described("List the events of a thread", query=EventQuery, answer=EventSerializer, many=True)
    def get(self, request: Request, inbox_id: str, thread_id: str) -> Response:
        """Newest first."""
        thread = self.get_thread(inbox_id, thread_id)
        query = self.query(EventQuery)
        events = Event.objects.filter(inbox_id=thread.inbox_id, thread_id=thread.pk)
        return paginated(self.narrowed(events, EVENT_FILTERS, query), query, represent_events, read=read_events)


class EventsView(MessageScopedView):
    """GET /events, newest first"""

    needs = EVENTS_READ

    @described("List events", query=EventQuery, answer=EventSerializer, many=True)
    def get(self, request: Request) -> Response:
        """Newest first, of all inboxes that the key sees. A key that is not limited to some also sees what is of the whole account, such as
        `domain.verified`; `inbox_id` is null there."""
        query = self.query(EventQuery)
        events = self.narrowed(self.scoped(Event.objects.all(), of_no_inbox=True), EVENT_FILTERS, query)
        return paginated(events, query, represent_events, read=read_events)


def represent_threads(threads: list[Thread]) -> Any:
    return ThreadSerializer(threads, many=True).data


def represent_events(events: list[Event]) -> Any:
    return EventSerializer(events, many=True).data


__all__ = ["MessageScopedView", "MessagesView", "as_download", "file_gone", "represent_message", "represent_messages"]
