"""Which inboxes an export is of."""

from collections.abc import Iterator

from audit.models import Export
from inboxes.models import Inbox


def inboxes_of(export: Export, behind: str = "") -> Iterator[Inbox]:
    """In the order of their ids, from `behind` on; deleted ones too. One at a time, so that no cursor stays open meanwhile."""
    rows = Inbox.objects.filter(account_id=export.account_id).order_by("pk")
    if export.inbox_id:
        rows = rows.filter(pk=export.inbox_id)
    elif export.mode:
        rows = rows.filter(mode=export.mode)
    inbox = rows.filter(pk__gte=behind).first()
    while inbox is not None:
        yield inbox
        inbox = rows.filter(pk__gt=inbox.pk).first()
