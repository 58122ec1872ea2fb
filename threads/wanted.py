"""What an open wait wants: the filters, how far it has looked, and looking for many of them at once."""

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.db.models import QuerySet, prefetch_related_objects
from django.utils import timezone

from audit.actors import ActContext
from inboxes.models import Inbox
from mailbot.api.renderers import timestamp
from threads.filters import SET_ASIDE, read_moment, was_in
from threads.models import Attachment, Message

LOOKS_BACK = timedelta(seconds=60)
LOOKS_AT_MOST = 200
STRAYS = 100
# With news of more inboxes than these, one query says first which of them have any.
ASKED_ONE_BY_ONE = 8


class Glance(NamedTuple):
    """What a wait looks at of a message."""

    pk: str
    sequence: int
    direction: str
    from_address: str
    subject: str
    codes: list[str]
    links: list[str]
    created_at: datetime


@dataclass(slots=True, eq=False)
class Wanted:
    """A message of `inbox_id` that matches and is behind `seen`, a number in the inbox; behind `since` too while that is set.

    `after` is from where the next call goes on without a gap, as the API names it.
    """

    inbox_id: str
    seen: int
    since: datetime | None
    after: str
    direction: str = Message.Direction.INBOUND
    sender: str = ""
    subject: str = ""
    has_code: bool | None = None
    host: str = ""
    reader: ActContext | None = None  # who waits, for the trail

    def matches(self, message: Glance) -> bool:
        return (
            message.direction == self.direction
            and self.sender in message.from_address.lower()
            and self.subject in message.subject.lower()
            and (self.has_code is None or bool(message.codes) == self.has_code)
            and (not self.host or any(_is_below(self.host, link) for link in message.links))
        )

    def takes(self, message: Glance) -> bool:
        """Whether this is the one; moves past it otherwise, so that each is read once."""
        if message.sequence <= self.seen:
            return False
        if self.since is None or message.created_at > self.since:
            if self.matches(message):
                return True
            self.since, self.after = None, message.pk
        self.seen = message.sequence
        return False


def _is_below(host: str, link: str) -> bool:
    try:
        found = urlsplit(link).hostname or ""
    except ValueError:
        return False
    return found == host or found.endswith(f".{host}")


def wanted(inbox: Inbox, query: Mapping[str, Any]) -> Wanted:
    """What the validated query of a wait asks for. Raises BadMoment.

    Without `after` it looks back LOOKS_BACK, for the mail that came while the call was on its way.
    """
    text = query.get("after")
    moment = read_moment(text, "msg") if text else timezone.now() - LOOKS_BACK
    seen, since, after = (
        (_last_until(inbox, moment), moment, timestamp(moment))
        if isinstance(moment, datetime)
        else (_number_of(inbox, moment), None, moment)
    )
    return Wanted(
        inbox_id=inbox.pk,
        seen=seen,
        since=since,
        after=after,
        direction=query["direction"],
        sender=query.get("from_address", "").strip().lower(),
        subject=query.get("subject_contains", "").lower(),
        has_code=query["has_code"],
        host=query.get("has_link_host", "").strip().lower(),
    )


def _number_of(inbox: Inbox, message_id: str) -> int:
    """In the inbox. A message of another inbox, or none, is before nothing: no message is behind it."""
    messages = Message.objects.filter(inbox=inbox)
    found = messages.filter(pk=message_id).values_list("sequence", flat=True).first()
    if found is not None:
        return found
    if not was_in([inbox.pk], message_id):
        return sys.maxsize
    # Its time of keeping was over. Ids rise with time, as numbers do.
    before = messages.filter(pk__lt=message_id).order_by("-sequence")
    return before.values_list("sequence", flat=True).first() or 0


def _last_until(inbox: Inbox, moment: datetime) -> int:
    """A number behind which all messages since that moment are, found from the newest back: no index goes by time.

    Numbers and times do not rise quite together where the clocks of workers differ; STRAYS allows for it.
    """
    messages = Message.objects.filter(inbox=inbox, created_at__lte=moment).order_by("-sequence")
    return max(0, (messages.values_list("sequence", flat=True).first() or 0) - STRAYS)


def first_match(wish: Wanted, inbox: Inbox) -> Message | None:
    """The oldest matching message there is. None: `wish` has seen all that the inbox held when it was read as `inbox`."""
    if wish.seen >= inbox.message_count:  # its counter is the last number that was given
        return None
    found = _next_matches(wish.inbox_id, [wish]).get(wish)
    if found is None:
        wish.seen = max(wish.seen, inbox.message_count)
    return found


def new_matches(wishes: Iterable[Wanted]) -> dict[Wanted, Message]:
    """The oldest matching message of each that has one by now. A message is read once, whoever waits for it."""
    by_inbox: dict[str, list[Wanted]] = defaultdict(list)
    for wish in wishes:
        by_inbox[wish.inbox_id].append(wish)
    if len(by_inbox) > ASKED_ONE_BY_ONE:
        by_inbox = _with_news(by_inbox)
    found: dict[Wanted, Message] = {}
    for inbox_id, waiting in by_inbox.items():
        found |= _next_matches(inbox_id, waiting)
    return found


def _with_news(by_inbox: dict[str, list[Wanted]]) -> dict[str, list[Wanted]]:
    newest = Inbox.objects.filter(pk__in=by_inbox).order_by().values_list("pk", "message_count")
    return {
        inbox_id: waiting
        for inbox_id, number in newest
        if (waiting := [wish for wish in by_inbox[inbox_id] if wish.seen < number])
    }


def _next_matches(inbox_id: str, wishes: Sequence[Wanted]) -> dict[Wanted, Message]:
    """Bodies, which may be megabytes, are read of those that matched only."""
    # What is set aside is offered to nobody; what a list blocked has a new number once it is accepted.
    messages = Message.objects.filter(inbox_id=inbox_id).exclude(status__in=SET_ASIDE)
    open_wishes = list(wishes)
    matched: dict[Wanted, str] = {}
    while open_wishes:
        behind = messages.filter(sequence__gt=min(wish.seen for wish in open_wishes))
        rows = _since(behind, open_wishes).order_by("sequence").values_list(*Glance._fields)[:LOOKS_AT_MOST]
        found = [Glance(*row) for row in rows]
        for message in found:
            takers = [wish for wish in open_wishes if wish.takes(message)]
            if takers:
                matched |= dict.fromkeys(takers, message.pk)
                open_wishes = [wish for wish in open_wishes if wish not in matched]
        if len(found) < LOOKS_AT_MOST:
            break
    whole = _whole(messages, set(matched.values())) if matched else {}
    return {wish: whole[message_id] for wish, message_id in matched.items() if message_id in whole}


def _whole(messages: QuerySet[Message], ids: set[str]) -> dict[str, Message]:
    """With their attachments, which are not asked for where there are none."""
    found = messages.in_bulk(ids)
    prefetch_related_objects([message for message in found.values() if message.attachment_count], "attachments")
    for message in found.values():
        if not message.attachment_count:
            message._prefetched_objects_cache = {"attachments": Attachment.objects.none()}  # type: ignore[attr-defined]
    return found


def _since(messages: QuerySet[Message], wishes: Sequence[Wanted]) -> QuerySet[Message]:
    """Where all look behind a time, the database looks no further back than the earliest of them."""
    times = [wish.since for wish in wishes if wish.since is not None]
    return messages.filter(created_at__gt=min(times)) if len(times) == len(wishes) else messages
