"""Offering to unsubscribe (RFC 2369, RFC 8058), and doing it: by one click, on a page, or by mail.

A link names the inbox, the message and the recipient and is signed, so that it needs no row and works when the message is purged. The
bytes of a mail are the same for all its recipients, so only mail to one recipient carries any.
"""

import base64
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from delivery.suppression import Target, Wanted, suppress
from delivery.suppression_model import Cause, Suppression, digest_of
from inboxes.models import Inbox
from mailbot.lib.addresses import MAX_LOCAL_PART, AddressError, canonical, comparable
from mailbot.lib.ids import is_id
from threads.events import EventType, News, record_events
from threads.models import Message
from threads.wakeups import wake_on_commit

HEADER, POST_HEADER = "List-Unsubscribe", "List-Unsubscribe-Post"
ONE_CLICK = "One-Click"
TAG = "u."  # `support+u.<mark>@…`: mail for it unsubscribes
LABEL = "unsubscribe"  # of such a mail
SUBJECT = "unsubscribe"
MARK_OCTETS = 10
MAX_TOKEN = 1000
_SUFFIX = 26  # characters of an id behind its prefix
_SALT = "delivery.unsubscribing"


class Link(NamedTuple):
    """What a link is about."""

    inbox_id: str
    message_id: str
    address: str


# --- Links ---


def token_of(link: Link) -> str:
    """URL-safe. Whoever has it can stop mail of that inbox to that address, and nothing else; nobody makes one without SECRET_KEY."""
    named = f"{link.inbox_id[-_SUFFIX:]}{link.message_id[-_SUFFIX:]}{link.address}"
    return _signer().sign(base64.urlsafe_b64encode(named.encode()).decode().rstrip("="))


def link_of(token: str) -> Link | None:
    """None for what is no token of ours."""
    if len(token) > MAX_TOKEN:
        return None
    try:
        signed = _signer().unsign(token)
        named = base64.urlsafe_b64decode(signed + "=" * (-len(signed) % 4)).decode()
    except (BadSignature, ValueError):
        return None
    inbox_id, message_id = f"inbox_{named[:_SUFFIX]}", f"msg_{named[_SUFFIX : 2 * _SUFFIX]}"
    return Link(inbox_id, message_id, named[2 * _SUFFIX :]) if is_id(inbox_id, "inbox") else None


def _signer() -> Signer:
    return Signer(salt=_SALT, sep=".")


def mark_of(inbox_id: str, address: str) -> str:
    """What stands in the address to write to: it is short and in lower case, and good for mail from `address` alone."""
    digest = salted_hmac(_SALT, f"{inbox_id}\0{comparable(address)}", algorithm="sha256").digest()
    return base64.b32encode(digest[:MARK_OCTETS]).decode().lower()


# --- Offering ---


def unsubscribe_headers(inbox: Inbox, message: Message, given: Mapping[str, str]) -> dict[str, str]:
    """For a mail of an inbox that offers it, to one recipient. Whoever sets these headers himself knows his own list better."""
    people = [item["address"] for item in message.recipients]
    if not inbox.list_unsubscribe or len(people) != 1 or any(name.lower() == HEADER.lower() for name in given):
        return {}
    token = token_of(Link(inbox.pk, message.pk, people[0]))
    local_part = f"{inbox.local_part}+{TAG}{mark_of(inbox.pk, people[0])}"
    ways = [f"<{settings.MAILBOT_URL}/u/{token}>"]
    if len(local_part) <= MAX_LOCAL_PART:
        ways.append(f"<mailto:{local_part}@{inbox.domain}?subject={SUBJECT}%20{token}>")
    one_click = {POST_HEADER: f"List-Unsubscribe={ONE_CLICK}"} if settings.MAILBOT_URL.startswith("https://") else {}
    return {HEADER: ", ".join(ways), **one_click}  # RFC 8058 3.1: one click only by https


# --- Doing it ---


def unsubscribe(link: Link, by: str) -> bool:
    """Nothing goes from that inbox to that address any more. Whether that is new; safe to repeat. `by`: how it was asked for."""
    with transaction.atomic():
        # The lock comes first, as for all that is heard of mail: of two that ask at once, one is the first.
        inbox = Inbox.objects.select_for_update(no_key=True).filter(pk=link.inbox_id).first()
        return inbox is not None and _unsubscribe(inbox, link, by)


def is_unsubscribed(link: Link) -> bool:
    inbox = Inbox.objects.filter(pk=link.inbox_id).first()
    if inbox is None:
        return True
    digest = digest_of(inbox.account_id, inbox.mode, link.address, inbox.pk)
    return Suppression.objects.in_force().filter(digest=digest, cause__in=(Cause.UNSUBSCRIBE, Cause.COMPLAINT)).exists()


def _unsubscribe(inbox: Inbox, link: Link, by: str) -> bool:
    if is_unsubscribed(link):
        return False
    message = Message.objects.filter(pk=link.message_id, inbox=inbox).only("id", "thread_id").first()
    named = message.pk if message else ""
    suppress(Target.of_inbox(inbox), Wanted(link.address, Cause.UNSUBSCRIBE, f"by {by}", message_id=named))
    thread_id = message.thread_id if message else ""
    about = {"by": by}
    record_events([
        News(EventType.MESSAGE_UNSUBSCRIBED, inbox.account_id, inbox.pk, thread_id, named, link.address, about)
    ])  # fmt: skip
    wake_on_commit({inbox.pk})
    return True


# --- By mail ---


def unsubscribe_by_mail(messages: Iterable[Message]) -> None:
    """What came in for an address to unsubscribe by. In the transaction that files it, with the inboxes locked.

    The mail stays, labelled, as what proves the wish. The link in its subject says who it is about, whatever address it comes from; else
    the mark in the address it was sent to must be that of its sender.
    """
    asking = [message for message in messages if message.recipient_tag.startswith(TAG)]
    if not asking:
        return
    inboxes = Inbox.objects.in_bulk({message.inbox_id for message in asking})
    for message in asking:
        if link := _link_in(message):
            _unsubscribe(inboxes[message.inbox_id], link, "mail")
            message.labels = [*message.labels, LABEL]
            Message.objects.filter(pk=message.pk).update(labels=message.labels)


def _link_in(message: Message) -> Link | None:
    for word in message.subject.split():
        if (link := link_of(word)) and link.inbox_id == message.inbox_id:
            return link
    mark = message.recipient_tag.removeprefix(TAG)
    if _is_sendable(message.from_address) and constant_time_compare(
        mark, mark_of(message.inbox_id, message.from_address)
    ):
        return Link(message.inbox_id, "", message.from_address)
    return None


def _is_sendable(address: str) -> bool:
    try:
        canonical(address)
    except AddressError:
        return False
    return True
