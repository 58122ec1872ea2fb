"""Labels and states that agents put on messages and threads."""

from typing import Any

from django.db import transaction

from audit.record import Act, record
from threads.models import Message, Thread

REPORT = "report"  # given by the server to what reports on a mail of the inbox
BLOCKED = "blocked"  # given by the server to what a list of addresses set aside


@transaction.atomic
def replace_labels(message: Message, labels: list[str]) -> Message:
    """Give the message exactly these labels, in their order, each once."""
    before, message.labels = message.labels, list(dict.fromkeys(labels))
    message.save(update_fields=["labels"])
    changes = {"labels": [before, message.labels]}
    record(Act.MESSAGE_LABELLED, message, account_id=message.account_id, inbox_id=message.inbox_id, changes=changes)
    return message


@transaction.atomic
def change_thread(thread: Thread, changes: dict[str, Any]) -> Thread:
    """Set `labels` or `status` of a thread."""
    if "labels" in changes:
        changes = {**changes, "labels": list(dict.fromkeys(changes["labels"]))}
    told = {name: [getattr(thread, name), value] for name, value in changes.items()}
    for name, value in changes.items():
        setattr(thread, name, value)
    thread.save(update_fields=list(changes))
    record(Act.THREAD_CHANGED, thread, account_id=thread.account_id, inbox_id=thread.inbox_id, changes=told)
    return thread
