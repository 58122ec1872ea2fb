"""Taking a mail from the API into the queue: message, outbound row, recipients and event in one transaction, or nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from audit.actors import current as current_context
from delivery.engagement.choosing import tracking_for
from delivery.models import OutboundMail, Recipient, Suppression
from delivery.outbound.breaker import take_trials, why_stopped
from delivery.outbound.compose import OutgoingAttachment, compose
from delivery.outbound.lists import refused_recipients
from delivery.outbound.loop_guard import Refusal, count_mail, why_not_answer
from delivery.outbound.return_addresses import reply_to, return_path
from delivery.outbound.states import State
from delivery.outbound.suppressed import REASON, blocked_reports, reason_of, told
from delivery.outbound.tracking import news_of
from delivery.slow_work import WAIT_TASK
from delivery.suppression_lookup import suppressed_among
from delivery.unsubscribing import unsubscribe_headers
from inboxes.models import Account, Inbox, Provider
from inboxes.usage import midnight_after, recipients_of_account
from mailbot.lib.addresses import comparable
from mailbot.lib.clock import database_now, this_millisecond
from mailbot.lib.failpoints import failpoint
from mailbot.lib.hints import ring_on_commit
from mailbot.lib.ids import new_id
from mailbot.lib.scope import current as current_scope
from threads import attachments as files
from threads.conversation import file_outgoing
from threads.events import record_events
from threads.mime import Address, ParsedAttachment, ParsedMail
from threads.mime_bodies import rendered
from threads.models import Message
from threads.reading import MailContent, content_of, message_id_digest

SEND_TASK = "delivery.tasks.send_outbound"
SMALL = 1024 * 1024  # octets: what an account that is full may still send


class Blocked(Exception):
    """The send is refused by a rule of ours; `reason` is its name, `fix` what the caller can do, `told` what else there is to say.
    `until`: when the rule lets it pass, where that is known."""

    def __init__(self, reason: str, message: str, fix: str, until: datetime | None = None, **told: Any) -> None:
        super().__init__(message)
        self.reason, self.fix, self.until, self.told = reason, fix, until, told

    @property
    def detail(self) -> str:
        """For the queue and its events: the reason, and which recipients it is about."""
        addresses = [recipient["address"] for recipient in self.told.get("recipients", [])]
        return f"{self.reason}: {', '.join(addresses)}" if addresses else self.reason


class TooLarge(Exception):
    """The mail is larger than this server would take itself."""


class Once(Protocol):
    """What sees to it that a mail is queued once, however often somebody tries to send it."""

    def begin(self) -> None:
        """Called with the inbox locked, before anything is written. Raises what ends this try."""

    def keep(self, message: Message) -> None:
        """Called last in the transaction of the message: what is remembered is committed with it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A mail as its author wants it."""

    to: tuple[Address, ...]
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    subject: str = ""
    body_text: str = ""
    body_html: str = ""
    attachments: tuple[OutgoingAttachment, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    send_at: datetime | None = None
    track_opens: bool | None = None  # None: as the inbox says
    force: bool = False  # also in answer to a machine (delivery.outbound.loop_guard)
    carrier: Provider | None = None  # through exactly this one, whatever the inbox would choose

    @property
    def recipients(self) -> list[tuple[str, Address]]:
        """(kind, address), each address once: who is in To needs no second copy for being in Cc."""
        named = [("to", a) for a in self.to] + [("cc", a) for a in self.cc] + [("bcc", a) for a in self.bcc]
        return list({comparable(address.address): (kind, address) for kind, address in reversed(named)}.values())[::-1]


Check = Callable[[], None]  # asked in the transaction, under the inbox's lock; raises what forbids the mail


def queue_mail(
    inbox: Inbox, draft: Draft, parent: Message | None = None, once: Once | None = None, check: Check | None = None
) -> Message:
    """File the mail and queue it for all its recipients.

    Raises Blocked, TooLarge, ValueError for what no header can hold, or what `once` or `check` raises.

    What takes time (the storage, composing) happens before the transaction. Attachments that are to be fetched are left to a worker
    (delivery.outbound.fetching): until then the mail is being prepared, and its bytes are without them.
    """
    now = this_millisecond()
    addresses = [address.address for _, address in draft.recipients]
    why_not_to(inbox, addresses, parent)
    _guard(why_not_answer(parent, addresses, is_forced=draft.force))
    left_out = left_out_of(inbox, addresses)
    draft, to_fetch = _apart(_with_text(draft))
    message = _message(inbox, draft, now, left_out)
    draft = replace(draft, headers=draft.headers | unsubscribe_headers(inbox, message, draft.headers))
    to_fetch = to_fetch and to_fetch | {"headers": draft.headers}
    tracking = tracking_for(inbox, opens=draft.track_opens, page=message.body_html, carrier=draft.carrier)
    page = tracking.page(message)
    composed = compose(message, draft.attachments, draft.headers, message.sent_at or now, page)
    message.size, message.headers = len(composed.raw), composed.headers
    if message.size > settings.SMTP_MAX_SIZE:
        raise TooLarge(f"The mail would have {message.size:,} octets; {settings.SMTP_MAX_SIZE:,} is the most.")
    check_room(inbox, message.size, has_files=bool(draft.attachments or to_fetch))
    envelope_sender = return_path(inbox, message.message_id_header)
    with files.kept((inbox.account_id, attachment.content) for attachment in draft.attachments):
        locked = Inbox.objects.select_for_update(no_key=True, of=("self",)).select_related("account")
        current = locked.get(pk=inbox.pk)
        if once:
            once.begin()
        if check:
            check()
        _take_from_allowance(current, len(draft.recipients) - len(left_out), now.date())
        file_outgoing(inbox, message, _attachment_rows(message, draft), parent)
        _guard(count_mail(inbox, message.thread_id, addresses, now))
        mail = OutboundMail.objects.create(
            account_id=inbox.account_id,
            inbox=inbox,
            message=message,
            mode=inbox.mode,
            envelope_sender=envelope_sender,
            raw=composed.raw,
            track_opens=tracking.opens_by_esp,
            state=State.PREPARING if to_fetch else State.QUEUED,
            to_fetch=to_fetch and {**to_fetch, "tracking": tracking.kept()},
            carrier=draft.carrier,
            request_id=current_context().request_id,
            next_attempt_at=database_now() if to_fetch else draft.send_at or database_now(),
        )
        kinds = [kind for kind, _ in draft.recipients]
        Recipient.objects.bulk_create(
            Recipient(account_id=inbox.account_id, mail=mail, kind=kind, **shown)
            for kind, shown in zip(kinds, message.recipients, strict=True)
        )
        record_events(news_of(mail, report) for report in blocked_reports(left_out))
        if once:
            once.keep(message)
        ring_on_commit(WAIT_TASK if to_fetch else SEND_TASK)
    failpoint("send.committed")
    return message


def _apart(draft: Draft) -> tuple[Draft, dict[str, Any] | None]:
    """The draft without the attachments that are to be fetched, and what is needed to put them in later; None where there are none."""
    waiting = [file for file in draft.attachments if file.url]
    if not waiting:
        return draft, None
    files_to_fetch = [
        {"url": f.url, "filename": f.filename, "content_type": f.content_type, "content_id": f.content_id}
        for f in waiting
    ]
    there = tuple(file for file in draft.attachments if not file.url)
    return replace(draft, attachments=there), {"attachments": files_to_fetch, "headers": draft.headers}


def _with_text(draft: Draft) -> Draft:
    """A mail with HTML only gets its text beside it: readers without HTML, and our own preview, need one."""
    if draft.body_text.strip() or not draft.body_html:
        return draft
    return replace(draft, body_text=rendered(draft.body_html))


def _message(inbox: Inbox, draft: Draft, now: datetime, left_out: Mapping[str, Suppression]) -> Message:
    status = Message.Status.SCHEDULED if draft.send_at and draft.send_at > now else Message.Status.QUEUED
    message_id = f"<{new_id('m')}@{inbox.domain}>"
    draft = replace(draft, reply_to=draft.reply_to or reply_to(inbox, message_id))
    columns = _read(draft, inbox).columns() | {
        "message_id_header": message_id,
        "message_id_digest": message_id_digest(message_id),
        "in_reply_to": draft.references[-1] if draft.references else "",
        "references": list(draft.references),
        "sent_at": max(now, draft.send_at or now),
        "attachment_count": len(draft.attachments),
    }
    return Message(
        **columns,
        account_id=inbox.account_id,
        inbox=inbox,
        direction=Message.Direction.OUTBOUND,
        status=status,
        recipients=[_shown(address.address, status, left_out) for _, address in draft.recipients],
        labels=list(draft.labels),
        metadata=draft.metadata,
        created_at=now,
    )


def _shown(address: str, status: Message.Status, left_out: Mapping[str, Suppression]) -> dict[str, str]:
    if entry := left_out.get(address):
        return {"address": address, "status": Message.Status.BLOCKED.value, "reason": reason_of(entry)}
    return {"address": address, "status": status.value, "reason": ""}


def _read(draft: Draft, inbox: Inbox) -> MailContent:
    """What the author wrote, seen as a mail that came in would be: preview, new words, links."""
    return content_of(
        ParsedMail(
            message_id="",
            in_reply_to=(),
            references=(),
            subject=draft.subject,
            sent_at=None,
            sender=Address(inbox.display_name, inbox.address),
            to=draft.to,
            cc=draft.cc,
            bcc=draft.bcc,
            reply_to=draft.reply_to,
            headers=tuple(draft.headers.items()),
            body_text=draft.body_text,
            body_html=draft.body_html,
            attachments=(),
            degraded="",
            flags=(),
        )
    )


def _attachment_rows(message: Message, draft: Draft) -> Sequence[Any]:
    parsed = [
        ParsedAttachment(
            filename=attachment.filename,
            content_type=attachment.content_type,
            content=attachment.content,
            content_id=attachment.content_id,
            disposition="inline" if attachment.content_id else "attachment",
        )
        for attachment in draft.attachments
    ]
    return files.attachment_rows(message, parsed)


def _take_from_allowance(inbox: Inbox, recipients: int, today: date) -> None:
    """Count the recipients. `inbox` is as it is under its lock: two sends at once cannot both take the last place."""
    why_not_send(inbox)
    if stop := take_trials(inbox, recipients):
        raise Blocked(*stop)
    today = _day_of_counter(inbox, today)
    _check_inbox_limit(inbox, recipients, today)
    _check_account_limit(inbox, recipients, today)
    same_day = inbox.sends_counted_on == today
    Inbox.objects.filter(pk=inbox.pk).update(
        sends_today=F("sends_today") + recipients if same_day else recipients, sends_counted_on=today
    )


def _day_of_counter(inbox: Inbox, today: date) -> date:
    """A day that has begun stays: who waited for the lock over midnight, or has a clock behind ours, must not begin the old one anew.
    One further ahead comes from a clock that was set back since."""
    counted_on = inbox.sends_counted_on
    return counted_on if counted_on is not None and today < counted_on <= today + timedelta(days=1) else today


def _check_inbox_limit(inbox: Inbox, recipients: int, today: date) -> None:
    limit, sent = inbox.daily_send_limit, inbox.sends_on(today)
    if limit is not None and sent + recipients > limit:
        message = f"This would go over daily_send_limit: {sent} of {limit} recipients were sent to today."
        raise Blocked(
            "daily_send_limit", message, "Send it tomorrow (UTC), or raise daily_send_limit.", midnight_after(today)
        )


def _check_account_limit(inbox: Inbox, recipients: int, today: date) -> None:
    """All inboxes of the account together, by mode. The account's lock lets one send after the other add up; it is taken only where
    there is a limit, and after the inbox's. What is added up is what file_outgoing counts, in this transaction."""
    limit = inbox.account.send_limit
    if limit is None:
        return
    Account.objects.select_for_update(no_key=True).get(pk=inbox.account_id)
    sent = recipients_of_account(inbox.account_id, inbox.mode, today)
    if sent + recipients > limit:
        told = f"{sent} of {limit} recipients were sent to today"
        if current_scope().inbox_ids is not None:  # who sees some of its inboxes is not told what the others have used
            told = f"{limit} recipients, by all its inboxes together"
        message = f"This would go over the daily limit of the account: {told}."
        fix = "Send it tomorrow (UTC), or ask whoever runs this server to raise the limit."
        raise Blocked("account_daily_send_limit", message, fix, midnight_after(today))


def check_room(inbox: Inbox, size: int, *, has_files: bool) -> None:
    """Raises Blocked for a mail that takes room in an account that has none left. An answer in words is always possible."""
    if not has_files and size <= SMALL:
        return
    if Account.objects.filter(pk=inbox.account_id, is_full=True).exists():
        message = f"The storage quota of the account is used up: no attachments, and no mail over {SMALL:,} octets."
        fix = "Purge inboxes that are not needed, or ask whoever runs this server to raise the quota."
        raise Blocked("storage_quota", message, fix)


def _guard(refusal: Refusal | None) -> None:
    if refusal:
        raise Blocked("loop_guard", refusal.message, refusal.fix, refusal.until, **refusal.told)


def why_not_send(inbox: Inbox, queued_at: datetime | None = None) -> None:
    """Raises Blocked when the inbox itself may not send now. `queued_at`: of a mail that has been queued already."""
    if inbox.status == Inbox.Status.DELETED:
        raise Blocked("inbox_deleted", "This inbox is deleted.", "Send from another inbox.")
    if inbox.expires_at is not None and inbox.expires_at <= timezone.now():
        raise Blocked("inbox_deleted", "This inbox has expired.", "Send from another inbox.")
    if not inbox.local_part.isascii():
        message = "Its address has letters outside ASCII: it can receive, but few servers would take or answer its mail (RFC 6531)."
        raise Blocked("address_not_ascii", message, "Send from an inbox whose username is ASCII.")
    if stop := why_stopped(inbox, queued_at):
        raise Blocked(*stop)
    if inbox.status == Inbox.Status.PAUSED:
        fix = f"Resume it with POST /v1/inboxes/{inbox.pk}/resume, or ask an operator."
        raise Blocked(
            f"inbox_{inbox.status}", f"This inbox is {inbox.status}: {inbox.status_reason or 'no reason given'}.", fix
        )


def why_not_to(inbox: Inbox, addresses: Sequence[str], parent: Message | None) -> None:
    """Raises Blocked when a list forbids any of the recipients. `parent` is the message that is answered or forwarded."""
    refused = refused_recipients(inbox, addresses, parent)
    if not refused:
        return
    (direction, verdict), *others = refused.values()
    message = verdict.words + (f" {len(others)} more recipients are refused." if others else "")
    fix = (
        f"Leave out the recipients that are named, or have the list changed: GET /v1/lists/{direction}/{{allow|block}}."
    )
    recipients = [{"list": by, **why.explained(), "address": address} for address, (by, why) in refused.items()]
    raise Blocked(f"{direction}_list", message, fix, recipients=recipients)


def left_out_of(inbox: Inbox, addresses: Sequence[str]) -> dict[str, Suppression]:
    """Those who get no more mail, and why; the others get it. Raises Blocked when there are no others."""
    suppressed = suppressed_among(inbox, addresses)
    if not suppressed or len(suppressed) < len(addresses):
        return suppressed
    first = suppressed[addresses[0]]
    message = f"{addresses[0]} gets no more mail: {first.cause}{f' ({first.reason})' if first.reason else ''}."
    if len(addresses) > 1:
        message += f" {len(addresses) - 1} more recipients are suppressed too."
    fix = "Send to another address. If this one takes mail again: DELETE /v1/suppressions/{suppression_id}."
    raise Blocked(REASON, message, fix, recipients=told(suppressed, addresses))
