"""Filing mail into threads: the one place where messages come to be, in batches on the way in, one by one on the way out."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from audit.record import Act, Entry, record_many
from inboxes.models import Inbox
from mailbot.lib.bulk import bulk_insert, bulk_set, new_row
from mailbot.lib.clock import this_millisecond
from threads.attachments import attachment_rows, keep_all
from threads.events import EventType, News, record_events
from threads.matching import Decision, KnownMessage, ancestors, decide
from threads.models import Attachment, Message, Thread
from threads.reading import MailContent, message_id_digest
from threads.wakeups import wake_on_commit

REPEAT_WINDOW = timedelta(hours=24)
MAX_PARTICIPANTS = 500


@dataclass(frozen=True, slots=True)
class Incoming:
    """One delivery for one inbox."""

    inbox_id: str
    content: MailContent
    raw_sha256: str
    size: int
    source_id: str
    tag: str = ""
    envelope_sender: str = ""
    remote_addr: str = ""


@dataclass
class Desk:
    """What filing a batch needs to know, read in a fixed number of queries, and what it will write."""

    inboxes: dict[str, Inbox]
    known: dict[str, dict[str, KnownMessage]] = field(default_factory=dict)
    threads: dict[str, Thread] = field(default_factory=dict)
    by_raw: dict[tuple[str, str], str] = field(default_factory=dict)
    new_threads: list[Thread] = field(default_factory=list)
    changed_threads: dict[str, Thread] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    repeats: dict[str, int] = field(default_factory=dict)
    news: list[News] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


def file_incoming(mails: Sequence[Incoming]) -> list[Message]:
    """File each mail into its inbox, in the order given, all in one transaction; the new messages.

    A delivery that the inbox had within 24 hours with the same bytes makes no message but counts on the first one. A mail for an
    inbox that is purged by now makes none either. Takes the inboxes' locks in order of their ids, so that two workers cannot race
    for one thread and cannot wait for each other.
    """
    _keep_attachments(mails)
    with transaction.atomic(savepoint=False):  # one that fails ends the caller's transaction too, and is meant to
        desk = _set_up(mails)
        for mail in mails:
            _file(desk, mail)
        _write(desk)
    return desk.messages


def _keep_attachments(mails: Sequence[Incoming]) -> None:
    with_files = [mail for mail in mails if mail.content.parsed.attachments]
    if not with_files:
        return
    accounts = dict(Inbox.objects.filter(pk__in={mail.inbox_id for mail in with_files}).values_list("pk", "account_id"))
    keep_all(
        (accounts[mail.inbox_id], attachment.content)
        for mail in with_files
        if mail.inbox_id in accounts
        for attachment in mail.content.parsed.attachments
    )


def _set_up(mails: Sequence[Incoming]) -> Desk:
    inboxes = (
        Inbox.objects.select_for_update(no_key=True).filter(pk__in={mail.inbox_id for mail in mails}).order_by("pk")
    )
    desk = Desk({inbox.pk: inbox for inbox in inboxes if inbox.purged_at is None})
    _look_up_ancestors(desk, mails)
    _look_up_repeats(desk, mails)
    return desk


def _look_up_repeats(desk: Desk, mails: Sequence[Incoming]) -> None:
    wanted = {(mail.inbox_id, mail.raw_sha256) for mail in mails if mail.inbox_id in desk.inboxes}
    since = connection.ops.adapt_datetimefield_value(timezone.now() - REPEAT_WINDOW)
    ending = "WHERE created_at >= %s ORDER BY sequence DESC"
    rows = _messages_by("raw_sha256", wanted, "id, inbox_id, raw_sha256", ending, since)
    desk.by_raw = {(inbox_id, raw): message_id for message_id, inbox_id, raw in rows}


def _look_up_ancestors(desk: Desk, mails: Sequence[Incoming]) -> None:
    wanted = {
        (mail.inbox_id, message_id_digest(name))
        for mail in mails
        if mail.inbox_id in desk.inboxes
        for _, name in ancestors(mail.content.parsed)
    }
    desk.known = {inbox_id: {} for inbox_id in desk.inboxes}
    if not wanted:
        return
    # Where an id is there twice, what we sent wins over what came in, and the older over the newer: dict keeps the last one set.
    columns, ending = "id, inbox_id, thread_id, direction, message_id_digest", "ORDER BY direction, sequence DESC"
    for message_id, inbox_id, thread_id, direction, digest in _messages_by(
        "message_id_digest", wanted, columns, ending
    ):
        known = KnownMessage(message_id, thread_id, direction == Message.Direction.OUTBOUND)
        desk.known[inbox_id][digest] = known
    threads = Thread.objects.filter(
        pk__in={message.thread_id for known in desk.known.values() for message in known.values()}
    )
    desk.threads = {thread.pk: thread for thread in threads}


def _messages_by(
    column: str, wanted: Collection[tuple[str, str]], columns: str, ending: str, *parameters: Any
) -> list[Any]:
    """Messages by (inbox, value of `column`), each pair by itself in the index.

    Of two lists, as the ORM would ask, PostgreSQL reads all messages of all the inboxes: with 12,000 of them that took 14 ms, pairs 0.4.
    """
    if not wanted:
        return []
    pairs = ", ".join(["(%s, %s)"] * len(wanted))
    statement = (
        f"WITH wanted (inbox, value) AS (VALUES {pairs}) SELECT {columns} FROM wanted"  # noqa: S608 (our own text)
        f" JOIN threads_message ON inbox_id = wanted.inbox AND {column} = wanted.value {ending}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*chain.from_iterable(wanted), *parameters])
        return list(cursor.fetchall())


def _file(desk: Desk, mail: Incoming) -> None:
    inbox = desk.inboxes.get(mail.inbox_id)
    if inbox is None:
        return
    if first := desk.by_raw.get((inbox.pk, mail.raw_sha256)):
        desk.repeats[first] = desk.repeats.get(first, 0) + 1
        return
    decision = decide(mail.content.parsed, desk.known[inbox.pk], desk.threads, inbox.address)
    message = _incoming_message(inbox, mail, decision)
    _enter_thread(desk, inbox, message, decision, mail.content.participants)
    desk.by_raw[inbox.pk, mail.raw_sha256] = message.pk
    about = {"from": message.from_address, "subject": message.subject}
    _note(desk, message, EventType.MESSAGE_RECEIVED, Act.MESSAGE_RECEIVED, about, mail.remote_addr or None)
    desk.attachments += attachment_rows(message, mail.content.parsed.attachments)


def _incoming_message(inbox: Inbox, mail: Incoming, decision: Decision) -> Message:
    checks = {"envelope_sender": mail.envelope_sender, "degraded": mail.content.parsed.degraded}
    return new_row(
        Message,
        **mail.content.columns(),
        account_id=inbox.account_id,
        inbox_id=inbox.pk,
        direction=Message.Direction.INBOUND,
        status=Message.Status.RECEIVED,
        flags=mail.content.flags() + (["thread_suspect"] if decision.is_suspect else []),
        recipient_tag=mail.tag,
        explanation={"thread": decision.explained(), "checks": checks},
        size=mail.size,
        raw_sha256=mail.raw_sha256,
        source_id=mail.source_id,
        created_at=this_millisecond(),
    )


def _enter_thread(desk: Desk, inbox: Inbox, message: Message, decision: Decision, participants: Sequence[str]) -> None:
    """Put the message into the thread of the decision, or into a new one, and remember it for the mails behind it."""
    thread = desk.threads[decision.thread_id] if decision.thread_id else _new_thread(desk, inbox, message)
    message.thread_id = thread.pk
    inbox.message_count += 1  # ours while we hold the inbox's lock
    message.sequence = inbox.message_count
    thread.message_count += 1
    thread.last_message_at = message.created_at
    thread.preview = message.preview
    thread.participants = list(dict.fromkeys([*thread.participants, *participants]))[:MAX_PARTICIPANTS]
    desk.changed_threads[thread.pk] = thread
    desk.messages.append(message)
    if message.message_id_digest:
        known = KnownMessage(message.pk, thread.pk, message.direction == Message.Direction.OUTBOUND)
        desk.known.setdefault(inbox.pk, {}).setdefault(message.message_id_digest, known)


def _new_thread(desk: Desk, inbox: Inbox, message: Message) -> Thread:
    thread = new_row(
        Thread,
        account_id=inbox.account_id,
        inbox_id=inbox.pk,
        subject=message.subject,
        last_message_at=message.created_at,
        created_at=message.created_at,
    )
    inbox.thread_count += 1
    desk.threads[thread.pk] = thread
    desk.new_threads.append(thread)
    desk.news.append(
        News(EventType.THREAD_CREATED, inbox.account_id, inbox.pk, thread.pk, data={"subject": message.subject})
    )
    return thread


def _note(
    desk: Desk, message: Message, event: EventType, act: Act, about: dict[str, Any], remote_addr: str | None = None
) -> None:
    desk.news.append(News(event, message.account_id, message.inbox_id, message.thread_id, message.pk, data=about))
    desk.entries.append(Entry(act, message, message.account_id, message.inbox_id, about, remote_addr))


def _write(desk: Desk) -> None:
    """Everything in one statement a table; counters once per inbox and thread."""
    created = {thread.pk for thread in desk.new_threads}
    bulk_insert(desk.new_threads)
    changed = [thread for thread in desk.changed_threads.values() if thread.pk not in created]
    bulk_set(changed, "message_count", "last_message_at", "preview", "participants")
    bulk_insert(desk.messages)
    bulk_insert(desk.attachments)
    for message_id, times in desk.repeats.items():
        Message.objects.filter(pk=message_id).update(repeat_count=F("repeat_count") + times)
    if desk.repeats:
        _record_repeats(desk)
    record_events(desk.news)
    record_many(desk.entries)
    filed_in = {message.inbox_id for message in desk.messages}
    bulk_set([desk.inboxes[inbox_id] for inbox_id in filed_in], "message_count", "thread_count")
    wake_on_commit(filed_in)


def _record_repeats(desk: Desk) -> None:
    for message in Message.objects.filter(pk__in=desk.repeats).only("subject", "account_id", "inbox_id"):
        about = {"times": desk.repeats[message.pk]}
        desk.entries.append(Entry(Act.MESSAGE_REPEATED, message, message.account_id, message.inbox_id, about))


def file_outgoing(inbox: Inbox, message: Message, attachments: Iterable[Attachment], parent: Message | None) -> Message:
    """File a mail written here: into the thread of `parent`, or into a new one. Call it in the transaction that queues it.

    The caller has stored the attachments' contents (`threads.attachments.keep`) and holds no lock on the inbox yet.
    """
    inbox = Inbox.objects.select_for_update(no_key=True).get(pk=inbox.pk)
    desk = Desk({inbox.pk: inbox})
    decision = Decision(None, "composed")
    if parent is not None:
        desk.threads[parent.thread_id] = Thread.objects.get(pk=parent.thread_id)
        decision = Decision(parent.thread_id, "reply_by_api", "In-Reply-To", parent.message_id_header, parent.pk)
    message.explanation = {"thread": decision.explained(), "checks": {}}
    people = [message.from_address, *(item["address"] for item in [*message.to, *message.cc, *message.bcc])]
    _enter_thread(desk, inbox, message, decision, people)
    desk.attachments = list(attachments)
    about = {"to": [item["address"] for item in message.to], "subject": message.subject}
    _note(desk, message, EventType.MESSAGE_QUEUED, Act.MESSAGE_QUEUED, about)
    _write(desk)
    return message
