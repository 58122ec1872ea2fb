"""What the audit app has to be told of by the apps above it: which inboxes an export is of, and what else than the trail can be in one.

They say it when the server starts.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from django.db.models import QuerySet

from audit.export_models import Export


class File(NamedTuple):
    """One of the bundle. `cursor`: where to go on behind it. `content` is asked for once, and only when the file is written."""

    name: str
    cursor: str
    content: Callable[[], Iterable[bytes]]


class Source(Protocol):
    def count(self, export: Export) -> int:
        """How many files there are, roughly: for the progress."""

    def files(self, export: Export, after: str) -> Iterator[File]:
        """In an order that does not change, behind the cursor `after`; empty: from the beginning."""


@dataclass(frozen=True, slots=True)
class Part:
    """`label` is what the console calls it."""

    label: str
    source: Source


# The ids of the inboxes of an account and mode, deleted ones too.
InboxIds = Callable[[str, str], "QuerySet[Any, Any]"]

# Sizes of heads of the trail of an account that were given out.
HeadSizes = Callable[[str], Iterable[int]]

parts: dict[str, Part] = {}
_inbox_ids: list[InboxIds] = []
_head_sizes: list[HeadSizes] = []


def register(name: str, part: Part) -> None:
    parts[name] = part


def register_inbox_ids(inbox_ids: InboxIds) -> None:
    _inbox_ids[:] = [inbox_ids]


def register_head_sizes(head_sizes: HeadSizes) -> None:
    _head_sizes.append(head_sizes)


def head_sizes_of(account_id: str) -> list[int]:
    return [size for sizes in _head_sizes for size in sizes(account_id)]


def inbox_ids_of(account_id: str, mode: str) -> "QuerySet[Any, Any]":
    (inbox_ids,) = _inbox_ids
    return inbox_ids(account_id, mode)
