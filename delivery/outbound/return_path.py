"""Where what cannot be delivered comes back to: the envelope sender of a mail."""

from inboxes.dns_findings import RecordStatus
from inboxes.dns_records import RETURN_PATH_LABEL, Purpose
from inboxes.models import Domain, Inbox
from mailbot.lib.scope import acting_for_everybody


def return_path_of(inbox: Inbox) -> str:
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
