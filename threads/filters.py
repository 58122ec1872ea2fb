"""The plain filters of lists: each takes a value from the query and narrows a queryset."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q, QuerySet

from mailbot.lib.addresses import comparable
from mailbot.lib.ids import is_id
from threads.labels import BLOCKED, REPORT
from threads.models import Event, Message

Rows = QuerySet[Any]


class BadMoment(ValueError):
    """The text is neither an id nor a time."""


def read_moment(text: str, prefix: str) -> str | datetime:
    """An id of that kind, or a time (RFC 3339; without an offset it is UTC). Raises BadMoment."""
    if is_id(text, prefix):
        return text
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        # To UTC here, where it can still be refused: "0001-01-01T00:00:00+14:00" has no such time.
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise BadMoment(f"“{text}” is neither an id ({prefix}_…) nor a time such as 2026-11-24T10:00:00Z.") from error


def _moment(prefix: str, column: str, operator: str) -> Callable[[Rows, str], Rows]:
    def narrowed(rows: Rows, text: str) -> Rows:
        moment = read_moment(text, prefix)
        name = column if isinstance(moment, datetime) else "pk"
        return rows.filter(**{f"{name}__{operator}": moment})

    return narrowed


def _message(operator: str) -> Callable[[Rows, str], Rows]:
    """By the number that a message has in its inbox: a message of another inbox is before and after nothing."""

    def narrowed(rows: Rows, text: str) -> Rows:
        moment = read_moment(text, "msg")
        if isinstance(moment, datetime):
            return rows.filter(**{f"created_at__{operator}": moment})
        number = rows.filter(pk=moment).order_by().values_list("sequence", flat=True).first()
        if number is not None:
            return rows.filter(**{f"sequence__{operator}": number})
        # One that is not kept any more is still before and after others: ids rise with time, as numbers do.
        return rows.filter(**{f"pk__{operator}": moment}, inbox_id__in=_inboxes_that_had(moment))

    return narrowed


def _inboxes_that_had(message_id: str) -> Rows:
    return Event.objects.filter(message_id=message_id, inbox__isnull=False).order_by().values("inbox_id")


def was_in(inbox_ids: Iterable[str], message_id: str) -> bool:
    """Whether one of the inboxes had that message, as far as events of it are kept."""
    return _inboxes_that_had(message_id).filter(inbox_id__in=list(inbox_ids)).exists()


def _address(column: str) -> Callable[[Rows, str], Rows]:
    return lambda rows, text: rows.filter(**{f"{column}__icontains": text.strip()})


def _recipient(rows: Rows, text: str) -> Rows:
    """In To or Cc, as they were written or in the canonical form."""
    spellings = {text.strip(), comparable(text)}
    named = [Q(to__has_address_like=spelling) | Q(cc__has_address_like=spelling) for spelling in spellings]
    return rows.filter(reduce(or_, named))


MESSAGE_FILTERS: dict[str, Callable[[Rows, Any], Rows]] = {
    "direction": lambda rows, value: rows.filter(direction=value),
    "thread_id": lambda rows, value: rows.filter(thread_id=value),
    "from": _address("from_address"),
    "to": _recipient,
    "subject": lambda rows, value: rows.filter(subject__icontains=value),
    "label": lambda rows, value: rows.filter(labels__has_item=value),
    "status": lambda rows, value: rows.filter(status=value),
    "after": _message("gt"),
    "before": _message("lt"),
    "has_attachment": lambda rows, value: (
        rows.filter(attachment_count__gt=0) if value else rows.filter(attachment_count=0)
    ),
}
THREAD_FILTERS: dict[str, Callable[[Rows, Any], Rows]] = {
    "label": lambda rows, value: rows.filter(labels__has_item=value),
    "participant": lambda rows, value: rows.filter(participants__has_item=comparable(value)),
    "subject": lambda rows, value: rows.filter(subject__icontains=value),
    "status": lambda rows, value: rows.filter(status=value),
    "after": _moment("thread", "last_message_at", "gt"),
    "before": _moment("thread", "last_message_at", "lt"),
}
EVENT_FILTERS: dict[str, Callable[[Rows, Any], Rows]] = {
    "thread_id": lambda rows, value: rows.filter(thread_id=value),
    "inbox_id": lambda rows, value: rows.filter(inbox_id=value),
    "message_id": lambda rows, value: rows.filter(message_id=value),
    "type": lambda rows, value: rows.filter(type=value),
    "after": _moment("evt", "occurred_at", "gt"),
}


# In no conversation: what a list of addresses blocks, and what reports on a mail of ours. With the label by which it is asked for.
SET_ASIDE = {Message.Status.REJECTED: BLOCKED, Message.Status.REPORT: REPORT}


def without_set_aside(messages: Rows, query: dict[str, Any]) -> Rows:
    """What is in no conversation is shown to those only who ask for it: by its status or label."""
    is_asked_for = query.get("status") in SET_ASIDE or query.get("label") in SET_ASIDE.values()
    return messages if is_asked_for else messages.exclude(status__in=SET_ASIDE)


def narrowed(rows: Rows, filters: dict[str, Callable[[Rows, Any], Rows]], query: dict[str, Any]) -> Rows:
    """Apply every filter that the query names. Raises BadMoment."""
    for name, value in query.items():
        if name in filters and value is not None:
            rows = filters[name](rows, value)
    return rows
