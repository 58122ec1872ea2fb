"""What this app does when threads says that content was erased. Runs in the transaction of the erasure."""

from typing import Any

from django.dispatch import receiver

from delivery.models import InboundMail
from inboxes.models import Inbox
from threads.models import Message
from threads.signals import content_erased

# An id begins with the time at which it was made; so many characters of it leave out the last minutes, for clocks that differ.
_TIME_IN_ID = 6


@receiver(content_erased, dispatch_uid="delivery.erase_raw_mail")
def erase_raw_mail(sender: object, *, inbox: Inbox, source_ids: set[str], **_: Any) -> None:
    """The raw mail goes too, unless it was addressed to other inboxes as well, which still have it.

    Not all of it has become a message: what came again did not, and what is still to be processed has not yet.
    """
    needed = set(Message.objects.filter(source_id__in=source_ids).values_list("source_id", flat=True))
    InboundMail.objects.filter(pk__in=(source_ids - needed) | _for_nobody_else(inbox)).delete()


def _for_nobody_else(inbox: Inbox) -> set[str]:
    """Mail all of whose inboxes are purged. Mail for an inbox is younger than the inbox, so the key finds where to begin."""
    oldest = f"inmail_{inbox.pk.removeprefix('inbox_')[:_TIME_IN_ID]}"
    rows = InboundMail.objects.filter(pk__gte=oldest, recipients__icontains=inbox.pk)
    inboxes = {pk: {item["inbox_id"] for item in found} for pk, found in rows.values_list("pk", "recipients")}
    living = Inbox.objects.filter(pk__in=set().union(*inboxes.values()), purged_at=None)
    kept = set(living.values_list("pk", flat=True))
    return {pk for pk, addressed in inboxes.items() if not addressed & kept}
