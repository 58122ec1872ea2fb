"""Erasing what an inbox holds, all of it or some messages. Events and the trail stay: they say that it happened, with addresses and
subjects but no body."""

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from django.db import transaction
from django.db.models import F, Sum
from django.db.models.functions import Greatest

from inboxes.models import Inbox
from mailbot.lib.addresses import comparable
from threads.attachments import remove_unneeded
from threads.filters import SET_ASIDE
from threads.models import Attachment, Message, Thread
from threads.search_index import remove_from_index, remove_messages_from_index
from threads.signals import content_erased, content_goes, messages_erased, messages_go

log = logging.getLogger(__name__)

AT_ONCE = 500  # a database takes only so many parameters


def erase_content(inbox: Inbox) -> None:
    """Remove messages, threads and attachments of `inbox`; files that no other message of the account needs go too."""
    content_goes.send(Inbox, inbox=inbox)
    remove_from_index(inbox)
    sources = set(Message.objects.filter(inbox=inbox).exclude(source_id="").values_list("source_id", flat=True))
    names = set(Attachment.objects.filter(message__inbox=inbox).values_list("storage_name", flat=True))
    Attachment.objects.filter(message__inbox=inbox).delete()
    Message.objects.filter(inbox=inbox).delete()
    Thread.objects.filter(inbox=inbox).delete()
    counters = ("message_count", "messages_removed", "thread_count", "message_octets", "attachment_octets")
    nothing = dict.fromkeys(counters, 0)
    Inbox.objects.filter(pk=inbox.pk).update(**nothing)
    for name, number in nothing.items():
        setattr(inbox, name, number)
    content_erased.send(Inbox, inbox=inbox, source_ids=sources)
    transaction.on_commit(partial(_delete_files, names), robust=True)


class Erased(NamedTuple):
    """How much went."""

    messages: int = 0
    octets: int = 0
    attachments: int = 0
    attachment_octets: int = 0
    threads: int = 0


@transaction.atomic
def erase_messages(inbox: Inbox, message_ids: Iterable[str]) -> Erased:
    """The same for some messages of `inbox`: those that are not there count nothing. Threads that are empty then go too.

    Whoever calls it has seen that no legal hold stands against it (inboxes.holds), and that none of them is on its way out. The numbers of
    messages are not given again, so whoever reads or waits behind one goes on where he was.
    """
    wanted = sorted(message_ids)
    messages_go.send(Inbox, inbox=inbox, message_ids=wanted)
    Inbox.objects.select_for_update(no_key=True).get(pk=inbox.pk)
    read = ("pk", "thread_id", "size", "source_id", "created_at")
    messages = list(Message.objects.filter(inbox=inbox, pk__in=wanted).order_by("pk").only(*read))
    if not messages:
        return Erased()
    ids = [message.pk for message in messages]
    remove_messages_from_index(inbox, messages)
    files = Attachment.objects.filter(message_id__in=ids)
    names, attachments = set(files.values_list("storage_name", flat=True)), files.count()
    attachment_octets = files.aggregate(all=Sum("size"))["all"] or 0
    files.delete()
    Message.objects.filter(pk__in=ids).delete()
    threads = _leave_threads({message.thread_id for message in messages})
    octets = sum(message.size for message in messages)
    erased = Erased(len(ids), octets, attachments, attachment_octets, threads.gone)
    _count_out(inbox, erased, threads.unseen)
    sources = {message.source_id for message in messages if message.source_id}
    messages_erased.send(Inbox, inbox=inbox, source_ids=sources)
    transaction.on_commit(partial(_delete_files, names), robust=True)
    return erased


def _count_out(inbox: Inbox, erased: Erased, threads: int) -> None:
    def less(name: str, by: int) -> Greatest:
        return Greatest(F(name) - by, 0)

    Inbox.objects.filter(pk=inbox.pk).update(
        messages_removed=F("messages_removed") + erased.messages,
        thread_count=less("thread_count", threads),
        message_octets=less("message_octets", erased.octets),
        attachment_octets=less("attachment_octets", erased.attachment_octets),
    )


class _Left(NamedTuple):
    """`unseen`: threads that nobody sees any more, because they are gone or have no message that takes part."""

    gone: int
    unseen: int


def _leave_threads(thread_ids: Iterable[str]) -> _Left:
    """Threads of which messages went: what is left of each says who takes part and what was last said."""
    gone = unseen = 0
    for thread in Thread.objects.select_for_update().filter(pk__in=sorted(thread_ids)).order_by("pk"):
        was_seen = thread.message_count > 0
        left = list(Message.objects.filter(thread=thread).order_by("sequence").only(*_OF_THREADS))
        if left:
            _tell_anew(thread, [message for message in left if message.status not in SET_ASIDE])
        else:
            thread.delete()
            gone += 1
        unseen += was_seen and (not left or not thread.message_count)
    return _Left(gone, unseen)


_OF_THREADS = (
    *("pk", "status", "direction", "preview", "created_at", "sequence"),
    *("from_address", "to", "cc", "bcc", "reply_to"),
)


def _tell_anew(thread: Thread, messages: Sequence[Message]) -> None:
    people = dict.fromkeys(address for message in messages for address in _people(message))
    thread.message_count = len(messages)
    thread.participants = [address for address in thread.participants if address in people]
    thread.verified_senders = [one for one in thread.verified_senders or [] if one in people] or None
    thread.preview = messages[-1].preview if messages else ""
    if messages:
        thread.last_message_at = messages[-1].created_at
    thread.save(update_fields=["message_count", "participants", "verified_senders", "preview", "last_message_at"])


def _people(message: Message) -> Iterable[str]:
    """As they stand among the participants: canonical, and as they were written by who composed it."""
    named = [
        message.from_address,
        *(one["address"] for one in [*message.reply_to, *message.to, *message.cc, *message.bcc]),
    ]
    return {spelling for address in named if address for spelling in (address, comparable(address))}


def _delete_files(names: set[str]) -> None:
    """What the store does not delete now is found by `manage.py orphaned_objects`."""
    for name, error in remove_unneeded(names).items():
        log.error("The file %s of an erased message is still in the object store: %s", name, error)
