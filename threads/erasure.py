"""Erasing what an inbox holds. Events and the trail stay: they say that it happened, with addresses and subjects but no body."""

from functools import partial

from django.core.files.storage import default_storage
from django.db import transaction

from inboxes.models import Inbox
from threads.models import Attachment, Message, Thread
from threads.signals import content_erased


def erase_content(inbox: Inbox) -> None:
    """Remove messages, threads and attachments of `inbox`; files that no other message of the account needs go too."""
    sources = set(Message.objects.filter(inbox=inbox).exclude(source_id="").values_list("source_id", flat=True))
    names = set(Attachment.objects.filter(message__inbox=inbox).values_list("storage_name", flat=True))
    Attachment.objects.filter(message__inbox=inbox).delete()
    Message.objects.filter(inbox=inbox).delete()
    Thread.objects.filter(inbox=inbox).delete()
    Inbox.objects.filter(pk=inbox.pk).update(message_count=0, thread_count=0)
    inbox.message_count = inbox.thread_count = 0
    content_erased.send(Inbox, inbox=inbox, source_ids=sources)
    transaction.on_commit(partial(_delete_files, names))


def _delete_files(names: set[str]) -> None:
    """Asked right before they go: another inbox of the account may have got the same file meanwhile."""
    needed = set(Attachment.objects.filter(storage_name__in=names).values_list("storage_name", flat=True))
    for name in names - needed:
        default_storage.delete(name)
