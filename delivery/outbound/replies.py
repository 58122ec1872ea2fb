"""Who an answer goes to and what it says of what it answers."""

from collections.abc import Iterable
from dataclasses import replace
from html import escape

from delivery.outbound.compose import OutgoingAttachment, forward_subject, references_for_reply, reply_subject
from delivery.outbound.loop_guard import ANSWER_HEADERS
from delivery.outbound.queue import Draft
from inboxes.models import Inbox
from mailbot.lib.addresses import AddressError, canonical, comparable
from threads.attachments import content_of
from threads.mime import Address
from threads.models import Message
from threads.quoting_html import sanitised

# Whoever wrote the mail chose whom an answer goes to: by a Reply-To of a thousand he would have us send a thousand mails.
MAX_RECIPIENTS = 100
MAX_NAME = 200
MAX_SUBJECT = 990


class NobodyToReplyTo(ValueError):
    """The message names no address that an answer could go to."""


class TooManyToReplyTo(ValueError):
    """The message names more addresses than a mail may go to."""


def reply_draft(inbox: Inbox, parent: Message, draft: Draft, *, reply_all: bool) -> Draft:
    """`draft` completed to a reply to `parent`: recipients, subject and the whole chain of References.

    An answer to a mail goes to its Reply-To or From; a second mail after one of our own goes to whom the first went.
    """
    us = {comparable(inbox.address)}
    to = _answered(parent, us)
    if not to:
        raise NobodyToReplyTo(
            "This message has no From or Reply-To address that can be sent to (its local part must be ASCII)."
        )
    others = _addresses([*parent.to, *parent.cc]) if reply_all else ()
    cc = _without((*draft.cc, *others), us | {comparable(address.address) for address in to})
    if max(len(to), len(cc)) > MAX_RECIPIENTS:
        raise TooManyToReplyTo(f"An answer would go to more than {MAX_RECIPIENTS} addresses that this message names.")
    return replace(
        draft,
        to=to,
        cc=cc,
        subject=reply_subject(parent.subject)[:MAX_SUBJECT],
        references=tuple(references_for_reply(parent)),
        headers={**draft.headers, **ANSWER_HEADERS},
    )


def _answered(parent: Message, us: set[str]) -> tuple[Address, ...]:
    """Not ourselves, unless there is nobody else."""
    if parent.direction == Message.Direction.OUTBOUND:
        return _without(_addresses(parent.to), set())
    senders = _addresses(parent.reply_to) or (Address(parent.from_name[:MAX_NAME], parent.from_address),)
    return _without(senders, us) or _without(senders, set())


def forward_draft(parent: Message, draft: Draft) -> Draft:
    """`draft` with the message behind it: a header block, its text, its HTML when either side has some, and its files."""
    told = [
        "---------- Forwarded message ----------",
        f"From: {_shown(parent.from_name, parent.from_address)}",
        f"Date: {parent.sent_at or parent.created_at:%a, %d %b %Y %H:%M:%S %z}",
        f"Subject: {parent.subject}",
        f"To: {', '.join(_shown(item['name'], item['address']) for item in parent.to)}",
    ]
    files = [
        OutgoingAttachment(item.filename, item.content_type, content_of(item), item.content_id)
        for item in parent.attachments.all()
    ]
    return replace(
        draft,
        subject=forward_subject(parent.subject)[:MAX_SUBJECT],
        body_text="\n\n".join([draft.body_text, "\n".join(told), parent.body_text]).lstrip("\n"),
        body_html=_forwarded_html(parent, draft, told) if draft.body_html or parent.body_html else "",
        attachments=(*draft.attachments, *files),
        references=tuple(references_for_reply(parent)),
    )


def _forwarded_html(parent: Message, draft: Draft, told: list[str]) -> str:
    """The foreign part is sanitised: what goes out under our name runs nothing of theirs."""
    own = draft.body_html or _as_html(draft.body_text)
    foreign = sanitised(parent.body_html) if parent.body_html else _as_html(parent.body_text)
    return f"{own}<br><br><div>{'<br>'.join(escape(line) for line in told)}</div><br>{foreign}"


def _as_html(text: str) -> str:
    return f'<div style="white-space: pre-wrap">{escape(text)}</div>' if text else ""


def _addresses(people: Iterable[dict[str, str]]) -> tuple[Address, ...]:
    return tuple(Address(item["name"][:MAX_NAME], item["address"]) for item in people)


def _without(addresses: Iterable[Address], left_out: set[str]) -> tuple[Address, ...]:
    """Each address once, in order, without those that are left out or that nothing can be sent to."""
    first = {comparable(address.address): address for address in reversed(list(addresses)) if _is_usable(address)}
    return tuple(address for key, address in reversed(first.items()) if key not in left_out)


def _is_usable(address: Address) -> bool:
    try:
        canonical(address.address)
    except AddressError:
        return False
    return address.address.rpartition("@")[0].isascii()


def _shown(name: str, address: str) -> str:
    return f"{name} <{address}>" if name else address
