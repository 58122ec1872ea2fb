"""The mail in a bundle of evidence: each message byte for byte, and a table that says which is which."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from django.db.models import QuerySet

from audit.export_sources import File
from audit.models import Export
from delivery.raw import RawGone, raw_of
from inboxes.export_selection import inboxes_of
from mailbot.api.renderers import timestamp
from mailbot.lib.csv_cells import csv_octets
from threads.models import Message

READ = 200  # messages at once
COLUMNS = (
    *("message_id", "inbox_id", "thread_id", "direction", "status", "from", "to", "subject", "created_at", "size"),
    *("sha256", "file"),
)
GONE = b"The time of keeping of this mail is over: its octets are removed. The entries of the trail about it are not.\n"
_FIELDS = (
    *("pk", "account_id", "inbox_id", "thread_id", "direction", "status", "from_address", "to", "subject"),
    *("created_at", "size", "raw_sha256", "source_id", "sequence"),
)


class Mails:
    """messages/<inbox>/<message>.eml, for each as long as its octets are kept, and messages/index.csv before them."""

    def count(self, export: Export) -> int:
        ids = [inbox.pk for inbox in inboxes_of(export)]
        return 1 + _within(export, Message.objects.filter(inbox__in=ids)).count()

    def files(self, export: Export, after: str) -> Iterator[File]:
        if not after:
            yield File("messages/index.csv", "index", partial(_index, export))
        at, _, sequence = ("", "", "0") if after in ("", "index") else after.partition(" ")
        for message in _messages(export, at, int(sequence)):
            name, cursor = f"messages/{message.inbox_id}/{message.pk}", f"{message.inbox_id} {message.sequence}"
            try:
                raw = raw_of(message)
            except RawGone:
                yield File(f"{name}.removed.txt", cursor, lambda: [GONE])
            else:
                yield File(f"{name}.eml", cursor, lambda raw=raw: [raw])  # type: ignore[misc]


def _messages(export: Export, inbox_id: str = "", sequence: int = 0) -> Iterator[Message]:
    """By inbox, and there in the order in which they came, behind the place that is named."""
    for inbox in inboxes_of(export, inbox_id):
        rows = _within(export, Message.objects.filter(inbox=inbox)).order_by("sequence").only(*_FIELDS)
        at = sequence if inbox.pk == inbox_id else 0
        while found := list(rows.filter(sequence__gt=at)[:READ]):
            yield from found
            at = found[-1].sequence


def _within(export: Export, rows: QuerySet[Message]) -> QuerySet[Message]:
    if export.since:
        rows = rows.filter(created_at__gte=export.since)
    return rows.filter(created_at__lt=export.until) if export.until else rows


def _index(export: Export) -> Iterator[bytes]:
    yield csv_octets([COLUMNS])
    for message in _messages(export):
        yield csv_octets([_row(message)])


def _row(message: Message) -> list[Any]:
    to = ", ".join(str(person.get("address", "")) for person in message.to)
    return [
        *(message.pk, message.inbox_id, message.thread_id, message.direction, message.status),
        *(message.from_address, to, message.subject, timestamp(message.created_at), message.size, message.raw_sha256),
        f"messages/{message.inbox_id}/{message.pk}.eml",
    ]
