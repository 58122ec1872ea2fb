"""What this app does when threads says that content was erased. Runs in the transaction of the erasure."""

from typing import Any

from django.dispatch import receiver

from delivery.models import InboundMail
from threads.models import Message
from threads.signals import content_erased


@receiver(content_erased, dispatch_uid="delivery.erase_raw_mail")
def erase_raw_mail(sender: object, *, source_ids: set[str], **_: Any) -> None:
    """The raw mail goes too, unless it was addressed to other inboxes as well, which still have it."""
    needed = set(Message.objects.filter(source_id__in=source_ids).values_list("source_id", flat=True))
    InboundMail.objects.filter(pk__in=source_ids - needed).delete()
