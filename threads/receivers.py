"""What this app does when inboxes says that something happened. Runs in the transaction of the change."""

from typing import Any

from django.dispatch import receiver

from inboxes.models import Domain, Inbox
from inboxes.signals import domain_verified, inbox_changed, inbox_purged
from threads.erasure import erase_content
from threads.events import EventType, News, record_events


@receiver(inbox_changed, dispatch_uid="threads.record_inbox_event")
def record_inbox_event(sender: object, *, inbox: Inbox, event: str, data: dict[str, Any], **_: Any) -> None:
    record_events([News(EventType(event), inbox.account_id, inbox.pk, data=data)])


@receiver(domain_verified, dispatch_uid="threads.record_domain_verified")
def record_domain_verified(sender: object, *, domain: Domain, **_: Any) -> None:
    data = {"domain": domain.domain, "domain_id": domain.pk}
    record_events([News(EventType.DOMAIN_VERIFIED, domain.account_id, data=data)])


@receiver(inbox_purged, dispatch_uid="threads.erase_purged_inbox")
def erase_purged_inbox(sender: object, *, inbox: Inbox, **_: Any) -> None:
    erase_content(inbox)
