"""Erasing what an inbox holds. Events and the trail stay: they say that it happened, with addresses and subjects but no body."""

import logging
from functools import partial
from itertools import islice

from django.db import transaction

from inboxes.models import Inbox
from mailbot.lib import object_store
from mailbot.lib.object_store import StoreUnavailable
from threads.models import Attachment, Message, Thread
from threads.search_index import remove_from_index
from threads.signals import content_erased, content_goes

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


def _delete_files(names: set[str]) -> None:
    """Asked right before they go: another inbox of the account may have got the same file meanwhile.

    What the store does not delete now is logged, and found by `manage.py orphaned_objects`.
    """
    rest = iter(sorted(names))
    while piece := list(islice(rest, AT_ONCE)):
        needed = set(Attachment.objects.filter(storage_name__in=piece).values_list("storage_name", flat=True))
        for name in (name for name in piece if name not in needed):
            try:
                object_store.delete(name)
            except StoreUnavailable as error:
                log.error("The file %s of an erased message is still in the object store: %s", name, error)
