"""The trail as a table, for people with a spreadsheet. What proves something is audit.jsonl."""

from collections.abc import Iterable

from audit.canonical import canonical
from audit.leaves import Told
from mailbot.lib.csv_cells import csv_octets

COLUMNS = (
    *(
        "seq",
        "id",
        "time",
        "action",
        "actor_kind",
        "actor_id",
        "actor_name",
        "inbox_id",
        "mode",
        "object_type",
        "object_id",
        "object_name",
    ),
    *("remote_addr", "request_id", "changes"),
)


def table_head() -> bytes:
    return csv_octets([COLUMNS])


def table_rows(entries: Iterable[tuple[int, Told]]) -> bytes:
    return csv_octets(_row(seq, told) for seq, told in entries)


def _row(seq: int, told: Told) -> list[object]:
    shown = told.shown()
    changes = shown["changes"]
    return [
        seq,
        *(shown.get(name) for name in COLUMNS[1:-1]),
        canonical(changes).decode("utf-8", "surrogatepass") if changes else "",
    ]
