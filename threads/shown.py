"""Messages as they are shown: with the columns and attachments of an answer, and in lists without the rest of long bodies."""

from collections.abc import Iterable

from django.db.models import QuerySet

from mailbot.lib.shown_rows import Beginning, read_rows
from threads.models import Attachment, Event, Message, Thread

BODIES = ("body_text", "body_html", "extracted_text", "extracted_html")
LONGEST_IN_LISTS = 50_000  # characters of each body


def columns_of(model: type[Message | Attachment | Event | Thread], without: Iterable[str] = ()) -> tuple[str, ...]:
    return tuple(
        field.attname for field in model._meta.concrete_fields if field.attname not in {"account_id", *without}
    )


# The explanation is longer than most of what a list shows, and has an answer of its own.
MESSAGE = columns_of(
    Message, without=("explanation", "message_id_digest", "final_id_digest", "raw_sha256", "source_id")
)
ATTACHMENT = columns_of(Attachment, without=("storage_name",))
EVENT, THREAD = columns_of(Event), columns_of(Thread, without=("verified_senders",))


def read_messages(messages: QuerySet[Message]) -> list[Message]:
    """Whole messages with their attachments."""
    return with_attachments(read_rows(messages, MESSAGE))


def read_list_of_messages(messages: QuerySet[Message]) -> list[Message]:
    """Without the rest of long bodies: any sender could otherwise make a page of a list as large as memory.

    A message of which a body was cut says so by the flag `body_truncated`; the message itself has all of it.
    """
    starts = {name: Beginning(name, LONGEST_IN_LISTS + 1) for name in BODIES}
    found = read_rows(messages, MESSAGE, **starts)
    for message in found:
        _cut(message)
    return with_attachments(found)


def _cut(message: Message) -> None:
    too_long = [name for name in BODIES if len(getattr(message, name)) > LONGEST_IN_LISTS]
    for name in too_long:
        setattr(message, name, getattr(message, name)[:LONGEST_IN_LISTS])
    if too_long and "body_truncated" not in message.flags:
        message.flags = [*message.flags, "body_truncated"]


def with_attachments(messages: list[Message]) -> list[Message]:
    """One query for those that have any, and none for a page without: most mail comes without a file."""
    held: dict[str, list[Attachment]] = {message.pk: [] for message in messages if message.attachment_count}
    if held:
        rows = Attachment.objects.filter(message__in=list(held)).order_by("message_id", "position")
        for attachment in read_rows(rows, ATTACHMENT):
            held[attachment.message_id].append(attachment)
    for message in messages:
        # Where prefetch_related puts them, too.
        message._prefetched_objects_cache = {"attachments": held.get(message.pk, [])}  # type: ignore[attr-defined]
    return messages


def read_events(events: QuerySet[Event]) -> list[Event]:
    return read_rows(events, EVENT)


def read_threads(threads: QuerySet[Thread]) -> list[Thread]:
    return read_rows(threads, THREAD)
