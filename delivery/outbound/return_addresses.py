"""Where what comes back of a mail goes to: bounces to its envelope sender, answers to its Reply-To, each with a tag that names the mail."""

from django.conf import settings

from inboxes.dns_findings import RecordStatus
from inboxes.dns_records import RETURN_PATH_LABEL, Purpose
from inboxes.models import Domain, Inbox
from mailbot.lib.scope import acting_for_everybody
from threads.address_tags import Tag, tagged
from threads.mime import Address


def return_path(inbox: Inbox, message_id: str) -> str:
    """The envelope sender of a mail that leaves by SMTP. Many servers send a bounce that names nothing of the mail that came back."""
    address = _bounces_to(inbox)
    return tagged(address, Tag.BOUNCE, inbox.pk, message_id) if settings.BOUNCE_TAGS else address


def _bounces_to(inbox: Inbox) -> str:
    """The inbox's own address; at the return-path host of its domain where the records of that are published, so that bounces come here
    also where other mail of the domain goes elsewhere. One query for an inbox on a domain of its account, otherwise none."""
    if not inbox.own_domain_id:
        return inbox.address
    with acting_for_everybody("a key of this inbox alone does not see its domain"):
        domain = Domain.objects.only("domain", "found").get(pk=inbox.own_domain_id)
    if inbox.domain != domain.domain or not _is_published(domain):
        return inbox.address
    return f"{inbox.local_part}@{RETURN_PATH_LABEL}.{domain.domain}"


def _is_published(domain: Domain) -> bool:
    name = f"{RETURN_PATH_LABEL}.{domain.domain}"
    slots = [f"{Purpose.RETURN_PATH} {kind} {name}" for kind in ("MX", "TXT")]
    return all(domain.found.get(slot, {}).get("status") == RecordStatus.VERIFIED for slot in slots)


def reply_to(inbox: Inbox, message_id: str) -> tuple[Address, ...]:
    """The Reply-To of a mail whose author names none, for clients that lose In-Reply-To and References; nobody unless it is switched on."""
    if not settings.REPLY_TAGS:
        return ()
    return (Address(inbox.display_name, tagged(inbox.address, Tag.REPLY, inbox.pk, message_id)),)
