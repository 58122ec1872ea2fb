"""Putting mail into the server as an SMTP client would, without a socket: for tests that are about something else."""

import secrets
from email.message import EmailMessage
from typing import Any

from delivery.inbound.process import process_inbound
from delivery.inbound.receive import InboundRecipient, Outcome, ReceivedMail, store_inbound_mail
from inboxes.models import Inbox
from inboxes.routing import RoutedInbox, find_inboxes
from mailbot.lib.addresses import canonical


def mail(**headers: Any) -> bytes:
    """An ordinary mail. `body` and `html` are its bodies; underscores in header names stand for hyphens."""
    message = EmailMessage()
    body, html = headers.pop("body", "Hello\n"), headers.pop("html", None)
    attachments = headers.pop("attachments", {})
    defaults = {
        "From": "Customer <customer@example.com>",
        "Subject": "A question",
        "Message_ID": f"<{secrets.token_hex(8)}@example.com>",
    }
    for name, value in {**defaults, **headers}.items():
        if value is not None:
            message[name.replace("_", "-")] = value
    message.set_content(body)
    if html:
        message.add_alternative(html, subtype="html")
    for filename, content in attachments.items():
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=filename)
    return message.as_bytes().replace(b"\n", b"\r\n")


def deliver(raw: bytes, *inboxes: Inbox | str, envelope_sender: str = "customer@example.com") -> None:
    """Store `raw` for these inboxes (or addresses, with a tag) and process it."""
    store(raw, *inboxes, envelope_sender=envelope_sender)
    while process_inbound():
        pass


def store(raw: bytes, *inboxes: Inbox | str, envelope_sender: str = "customer@example.com") -> None:
    addresses = [canonical(inbox if isinstance(inbox, str) else inbox.address) for inbox in inboxes]
    found = find_inboxes(addresses)
    recipients = tuple(InboundRecipient(a.address, a.tag, found[a.address].inbox_id) for a in addresses)
    received = ReceivedMail("smtp", secrets.token_hex(16), envelope_sender, recipients, raw)
    assert store_inbound_mail([received]) == [Outcome.STORED]


def inbox_for(address: str) -> RoutedInbox | None:
    """Where mail to `address` would go now."""
    wanted = canonical(address)
    return find_inboxes([wanted]).get(wanted.address)
