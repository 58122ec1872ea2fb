"""The trail line by line, as it is answered to whoever wants it at once and without proofs."""

from collections.abc import Callable, Iterator
from typing import Any

from django.db.models import Q, QuerySet

from audit.lookups import within
from audit.models import AuditEntry
from mailbot.api.renderers import dumps, timestamp
from mailbot.lib.csv_cells import csv_octets
from mailbot.lib.shown_rows import read_rows

READ = 1000  # entries at once
JSON_LINES, TABLE = "jsonl", "csv"
CONTENT_TYPES = {JSON_LINES: "application/jsonl", TABLE: "text/csv; charset=utf-8"}
COLUMNS = (
    *("id", "occurred_at", "action", "actor_kind", "actor_id", "actor_name", "inbox_id", "object_type", "object_id"),
    *("changes", "remote_addr", "request_id", "seq", "hash"),
)
Represent = Callable[[list[AuditEntry]], list[dict[str, Any]]]


def lines_of(rows: QuerySet[AuditEntry], represent: Represent, columns: tuple[str, ...]) -> Iterator[bytes]:
    """JSON Lines, oldest first, a batch at a time: one query each, and no cursor that stays open meanwhile."""
    for batch in _batches(rows, columns):
        yield b"".join(dumps(entry) + b"\n" for entry in represent(batch))


def table_of(rows: QuerySet[AuditEntry], represent: Represent, columns: tuple[str, ...]) -> Iterator[bytes]:
    """The same as CSV."""
    yield csv_octets([COLUMNS])
    for batch in _batches(rows, columns):
        yield csv_octets(map(_row, represent(batch)))


FORMATS = {JSON_LINES: lines_of, TABLE: table_of}


def _batches(rows: QuerySet[AuditEntry], columns: tuple[str, ...]) -> Iterator[list[AuditEntry]]:
    ordered = rows.order_by("timestamp", "public_id")
    batch = read_rows(ordered[:READ], columns)
    while batch:
        yield batch
        if len(batch) < READ:
            return
        last = batch[-1]
        # The bound on the time alone is what an index can begin at.
        after = Q(timestamp__gt=last.timestamp) | Q(timestamp=last.timestamp, public_id__gt=last.public_id)
        batch = read_rows(ordered.filter(after, within(since=last.timestamp))[:READ], columns)


def _row(entry: dict[str, Any]) -> list[object]:
    actor, about = entry["actor"], entry["object"]
    flat = {"actor_kind": actor["kind"], "actor_id": actor["id"], "actor_name": actor["name"]}
    flat |= {"object_type": about["type"], "object_id": about["id"], "occurred_at": timestamp(entry["occurred_at"])}
    flat["changes"] = dumps(entry["changes"]).decode() if entry["changes"] else ""
    return [{**entry, **flat}[name] for name in COLUMNS]
