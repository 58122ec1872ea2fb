"""Where what comes back of a mail goes to: bounces to its envelope sender, answers to its Reply-To, each with a tag that names the mail."""

from django.conf import settings

from inboxes.models import Inbox
from threads.address_tags import Tag, tagged
from threads.mime import Address


def return_path(inbox: Inbox, message_id: str) -> str:
    """The envelope sender of a mail that leaves by SMTP. Many servers send a bounce that names nothing of the mail that came back."""
    return tagged(inbox.address, Tag.BOUNCE, inbox.pk, message_id) if settings.BOUNCE_TAGS else inbox.address


def reply_to(inbox: Inbox, message_id: str) -> tuple[Address, ...]:
    """The Reply-To of a mail whose author names none, for clients that lose In-Reply-To and References; nobody unless it is switched on."""
    if not settings.REPLY_TAGS:
        return ()
    return (Address(inbox.display_name, tagged(inbox.address, Tag.REPLY, inbox.pk, message_id)),)
