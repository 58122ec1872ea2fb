"""Erasing single messages: each leaves a tombstone, so that numbers, counts and cursors of its inbox and thread stay as they are.

Nothing that was said stays: no subject, no body, no people, no files. What stays is that there was a mail, in which thread, when, and
which way it went.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from inboxes.models import Inbox
from mailbot.api.renderers import timestamp
from mailbot.lib.addresses import comparable
from mailbot.lib.bulk import bulk_set
from threads.models import Attachment, Event, Message, SearchDocument, SearchProgress, Thread

ERASED = "erased"  # a flag
AT_ONCE = 500
# In the data of an event, and in the changes of an entry of the trail: words of a mail.
WORDS_OF_MAIL = frozenset({"subject", "preview", "snippet", "text", "filename", "filenames", "url", "user_agent"})
_NOTHING: dict[str, Any] = {
    **dict.fromkeys(
        (
            *("message_id_header", "message_id_digest", "final_id_digest", "in_reply_to", "subject", "from_name"),
            *("body_text", "body_html", "extracted_text", "extracted_html", "preview", "degraded_reason"),
            *("recipient_tag", "raw_sha256", "source_id"),
        ),
        "",
    ),
    **{name: [] for name in ("references", "to", "cc", "bcc", "reply_to", "recipients", "headers", "codes", "links")},
    "labels": [],
    "metadata": {},
    "flags": [ERASED],
    "size": 0,
    "attachment_count": 0,
    "sent_at": None,
}
_DECISION = {
    **dict.fromkeys(("matched_header", "matched_message_id_header", "matched_message", "suspect_thread"), ""),
    "rule": ERASED,
    "reason": "What it said was erased; its place is left.",
}


@dataclass
class Gone:
    """What a batch took away. `files` are to be deleted once that is committed, where nobody else needs them."""

    messages: list[str] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    attachments: int = 0
    documents: int = 0
    events: int = 0


def leave_tombstones(
    inbox: Inbox, message_ids: Collection[str], because: dict[str, Any], rewrite: Callable[[Any], Any]
) -> Gone:
    """In the transaction that erases them. `because` stands in their explanation, `rewrite` takes a person out of the data of events."""
    inbox = Inbox.objects.select_for_update(no_key=True).get(pk=inbox.pk)
    chosen = Message.objects.filter(inbox=inbox, pk__in=message_ids).order_by("pk")
    messages = list(chosen.select_for_update(no_key=True).only("pk", "thread_id", "source_id", "size", "created_at"))
    ids = [message.pk for message in messages]
    gone = Gone(ids, sorted({message.thread_id for message in messages}))
    gone.sources = sorted({message.source_id for message in messages} - {""})
    gone.documents = _remove_documents(inbox, messages)
    octets = _remove_attachments(ids, gone)
    checks = {"erased": {**because, "at": timestamp(timezone.now())}}
    mine = Message.objects.filter(pk__in=ids)
    mine.update(**_NOTHING, explanation={"thread": _DECISION, "checks": checks})
    mine.filter(direction=Message.Direction.INBOUND).update(from_address="")  # of what went out it is the inbox itself
    Inbox.objects.filter(pk=inbox.pk).update(
        message_octets=F("message_octets") - sum(message.size for message in messages),
        attachment_octets=F("attachment_octets") - octets,
    )
    for thread_id in gone.threads:
        _tell_thread_anew(thread_id)
    gone.events = _empty_events(Q(message_id__in=ids), rewrite)
    gone.events += _empty_events(Q(thread_id__in=gone.threads, message_id=""), rewrite)
    return gone


def _remove_documents(inbox: Inbox, messages: Sequence[Message]) -> int:
    """Whoever is just indexing some of them is waited for, as in threads.search_index."""
    list(SearchProgress.objects.select_for_update().filter(pk=inbox.pk))
    times = [message.created_at for message in messages]  # by which the index finds them
    documents = SearchDocument.objects.filter(
        inbox=inbox, created_at__in=times, message_id__in=[m.pk for m in messages]
    )
    return documents.delete()[0]


def _remove_attachments(message_ids: Sequence[str], gone: Gone) -> int:
    files = Attachment.objects.filter(message_id__in=message_ids)
    gone.files = sorted(set(files.values_list("storage_name", flat=True)))
    octets: int = files.aggregate(octets=Sum("size"))["octets"] or 0
    gone.attachments = files.delete()[0]
    return octets


def _tell_thread_anew(thread_id: str) -> None:
    """By the messages that are left: who takes part, what it is about, how the last one begins."""
    thread = Thread.objects.select_for_update(no_key=True).get(pk=thread_id)
    read = ("flags", "subject", "preview", "from_address", "to", "cc", "reply_to", "sequence", "thread_id")
    rows = Message.objects.filter(thread_id=thread_id).order_by("sequence").only(*read)
    left = [message for message in rows if ERASED not in message.flags]
    people = {
        comparable(address)
        for message in left
        for address in [
            message.from_address,
            *(person.get("address", "") for person in [*message.to, *message.cc, *message.reply_to]),
        ]
    }
    thread.subject = left[0].subject if left else ""
    thread.preview = left[-1].preview if left else ""
    thread.participants = [one for one in thread.participants if comparable(one) in people]
    if thread.verified_senders is not None:
        thread.verified_senders = [one for one in thread.verified_senders if one in people]
    bulk_set([thread], "subject", "preview", "participants", "verified_senders")


def _empty_events(which: Q, rewrite: Callable[[Any], Any]) -> int:
    """Events are append-only for everybody else."""
    changed = 0
    for event in Event.objects.filter(which).order_by("pk").iterator(chunk_size=AT_ONCE):
        data = rewrite({name: value for name, value in event.data.items() if name not in WORDS_OF_MAIL})
        changed += rewrite_event(event, rewrite(event.recipient), data)
    return changed


def rewrite_event(event: Event, recipient: str, data: Any) -> int:
    """Put other words into an event: for the erasure of a person only."""
    if (recipient, data) == (event.recipient, event.data):
        return 0
    rows: QuerySet[Event] = Event.objects.filter(pk=event.pk)
    return QuerySet.update(rows, recipient=recipient, data=data)
